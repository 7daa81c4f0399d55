//! What the server counts, and `/metrics` in Prometheus' text format.
//!
//! A media worker writes its [`WorkerStats`] from one thread without locks; everybody else reads. The shell's own
//! counts are in [`Metrics`]. Label values come from small fixed sets only: never a room, a name or an address.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram as HistogramProto, LabelPair, Metric, MetricFamily, MetricType,
};
use prometheus::{
    CounterVec, Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use sfu::counters::Counters;

/// Upper bounds of the forwarding-latency buckets, in microseconds. A forward takes tens of microseconds on an idle
/// core; 20 ms is one audio packet, and beyond 100 ms a receiver's jitter buffer hears it.
pub const FORWARD_LATENCY_BOUNDS_US: [u64; 18] = [
    25, 50, 75, 100, 150, 200, 300, 400, 600, 800, 1_000, 1_500, 2_000, 5_000, 10_000, 20_000, 50_000,
    100_000,
];

/// A histogram of durations that one thread writes and others read.
#[derive(Debug, Default)]
pub struct LatencyHistogram {
    /// One per bound (not cumulative), and one for what is above all bounds.
    buckets: [AtomicU64; FORWARD_LATENCY_BOUNDS_US.len() + 1],
    sum_ns: AtomicU64,
}

impl LatencyHistogram {
    /// Counts one duration.
    pub fn record(&self, duration: Duration) {
        self.record_many(duration, 1);
    }

    /// Counts the same duration `count` times: a batch that left in one system call.
    pub fn record_many(&self, duration: Duration, count: u64) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = FORWARD_LATENCY_BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(count, Relaxed);
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(ns.saturating_mul(count), Relaxed);
    }

    /// Counts per bucket, the last above all bounds, and the sum in nanoseconds.
    pub fn read(&self) -> ([u64; FORWARD_LATENCY_BOUNDS_US.len() + 1], u64) {
        (std::array::from_fn(|bucket| self.buckets[bucket].load(Relaxed)), self.sum_ns.load(Relaxed))
    }
}

/// Counts in a gauge until it is dropped.
#[derive(Debug)]
pub struct Counted(IntGauge);

impl Counted {
    /// One more.
    pub fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Counted(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Declares [`WorkerStats`] with an atomic for each field of [`Counters`], so that a new counter cannot be forgotten here.
macro_rules! worker_stats {
    (counters { $($counter:ident => $counter_name:literal, $counter_help:literal;)* }
     gauges { $($gauge:ident => $gauge_name:literal, $gauge_help:literal;)* }) => {
        /// What a media worker has done. Its thread is the only writer.
        #[derive(Debug, Default)]
        #[expect(missing_docs, reason = "the fields of the first block are those of sfu::counters::Counters")]
        pub struct WorkerStats {
            $(pub $counter: AtomicU64,)*
            $(pub $gauge: AtomicU64,)*
            /// Nanoseconds that the thread worked, and did not wait.
            pub busy_ns: AtomicU64,
            /// Turns of the loop. One that stands still for long means a stuck worker; an idle worker turns at least
            /// each second.
            pub turns: AtomicU64,
            /// Datagrams that the system did not take (full socket buffer, unreachable receiver).
            pub send_errors: AtomicU64,
            /// Events that the lesson side did not take in time.
            pub events_dropped: AtomicU64,
            /// Events that had to wait for the lesson side, and were then taken or dropped.
            pub events_delayed: AtomicU64,
            /// System calls that received something.
            pub receive_calls: AtomicU64,
            /// System calls that sent.
            pub send_calls: AtomicU64,
            /// Failed attempts to receive.
            pub receive_errors: AtomicU64,
            /// Datagrams that the system dropped because the worker did not read them in time.
            pub receive_overflows: AtomicU64,
            /// Datagrams that were larger than any that WebRTC sends.
            pub oversize: AtomicU64,
            /// Datagrams to an address family that has no candidate.
            pub unroutable: AtomicU64,
            /// Packets that the recorder did not take.
            pub records_dropped: AtomicU64,
            /// From receiving a packet to handing its copies to the system.
            pub forward_latency: LatencyHistogram,
        }

        impl WorkerStats {
            /// Publishes the counters of the worker's node.
            pub fn store(&self, counters: &Counters) {
                // Named one by one, so that a field that Counters gains does not compile until it is here.
                let Counters { $($counter,)* $($gauge,)* } = *counters;
                $(self.$counter.store($counter, Relaxed);)*
                $(self.$gauge.store($gauge, Relaxed);)*
            }

            /// The counters as last published.
            pub fn load(&self) -> Counters {
                Counters {
                    $($counter: self.$counter.load(Relaxed),)*
                    $($gauge: self.$gauge.load(Relaxed),)*
                }
            }
        }

        /// Name, help and value of each counter of [`Counters`].
        const COUNTERS: &[(&str, &str, fn(&Counters) -> u64)] =
            &[$(($counter_name, $counter_help, |counters| counters.$counter),)*];
        /// The same for the gauges.
        const GAUGES: &[(&str, &str, fn(&Counters) -> u64)] =
            &[$(($gauge_name, $gauge_help, |counters| counters.$gauge),)*];
    };
}

worker_stats! {
    counters {
        datagrams_in => "lectern_datagrams_in_total", "Datagrams that came in.";
        bytes_in => "lectern_bytes_in_total", "Bytes of the datagrams that came in.";
        datagrams_out => "lectern_datagrams_out_total", "Datagrams that went out.";
        bytes_out => "lectern_bytes_out_total", "Bytes of the datagrams that went out.";
        datagrams_dropped => "lectern_datagrams_dropped_total", "Datagrams that belong to no peer.";
        datagrams_refused => "lectern_datagrams_refused_total", "Datagrams of a peer that the engine answered with an error.";
        media_unproved => "lectern_media_unproved_total", "SRTP and SRTCP of a peer's address that was dropped: a wrong tag, or a packet that had come before.";
        rtp_in => "lectern_rtp_packets_in_total", "RTP packets from publishers.";
        rtp_forwarded => "lectern_rtp_packets_forwarded_total", "RTP packets written to subscribers.";
        rtp_denied => "lectern_rtp_packets_denied_total", "RTP packets dropped because of policy, mute or an unknown SSRC.";
        rtp_lost_in => "lectern_rtp_packets_lost_in_total", "RTP packets from publishers that never arrived.";
        rtp_rebuilt_in => "lectern_rtp_packets_rebuilt_in_total", "RTP packets from publishers that never arrived and were rebuilt from redundant audio.";
        rtp_lost_out => "lectern_rtp_packets_lost_out_total", "RTP packets that subscribers report as lost.";
        nacks_in => "lectern_nacks_in_total", "Packets that subscribers asked to have again.";
        nacks_out => "lectern_nacks_out_total", "Packets that publishers were asked to send again.";
        keyframe_requests_in => "lectern_keyframe_requests_in_total", "Keyframe requests from subscribers.";
        keyframe_requests_out => "lectern_keyframe_requests_out_total", "Keyframe requests to publishers.";
        joins => "lectern_media_joins_total", "Offers answered.";
        joins_refused => "lectern_media_joins_refused_total", "Offers refused.";
        handshakes_expired => "lectern_handshakes_expired_total", "Peers whose handshake did not finish in time.";
    }
    gauges {
        rooms => "lectern_worker_rooms", "Rooms of the worker.";
        peers => "lectern_peers", "Media connections.";
        tracks => "lectern_tracks", "Published tracks.";
        half_open => "lectern_peers_half_open", "Media connections whose handshake is not done.";
    }
}

/// Where a count is in [`WorkerStats`].
type Place = fn(&WorkerStats) -> &AtomicU64;

/// Name, help and place of each count of the worker's loop.
const LOOP_COUNTERS: &[(&str, &str, Place)] = &[
    ("lectern_worker_turns_total", "Turns of the worker's loop.", |stats| &stats.turns),
    ("lectern_send_errors_total", "Datagrams that the system did not take.", |stats| &stats.send_errors),
    ("lectern_send_calls_total", "System calls that sent datagrams.", |stats| &stats.send_calls),
    ("lectern_receive_calls_total", "System calls that received datagrams.", |stats| &stats.receive_calls),
    ("lectern_receive_errors_total", "Failed attempts to receive.", |stats| &stats.receive_errors),
    (
        "lectern_receive_overflows_total",
        "Datagrams that the system dropped because the worker did not read them in time.",
        |stats| &stats.receive_overflows,
    ),
    ("lectern_datagrams_oversize_total", "Datagrams above 2048 bytes, dropped.", |stats| &stats.oversize),
    (
        "lectern_datagrams_unroutable_total",
        "Datagrams to an address family without a candidate, dropped.",
        |stats| &stats.unroutable,
    ),
    (
        "lectern_media_events_delayed_total",
        "Events of media that had to wait for the lesson side.",
        |stats| &stats.events_delayed,
    ),
    (
        "lectern_media_events_dropped_total",
        "Events of media that the lesson side did not take in time.",
        |stats| &stats.events_dropped,
    ),
    ("lectern_record_packets_dropped_total", "Packets that the recorder did not take.", |stats| {
        &stats.records_dropped
    }),
];

/// The shell's own counts, and the registry that prints all.
#[derive(Debug)]
#[expect(missing_docs, reason = "each field's help text is in Metrics::new and on /metrics")]
pub struct Metrics {
    registry: Registry,
    pub rooms: IntGauge,
    pub participants: IntGauge,
    pub joins: IntCounterVec,
    pub join_seconds: Histogram,
    pub checks: IntCounterVec,
    pub checks_running: IntGauge,
    pub sockets: IntGauge,
    pub sockets_refused: IntCounterVec,
    pub sockets_closed: IntCounterVec,
    pub requests: IntCounterVec,
    pub http_connections: IntGauge,
    pub http_connections_refused: IntCounterVec,
    pub append_seconds: Histogram,
    pub append_events: IntCounter,
    pub append_errors: IntCounter,
    pub room_events_dropped: IntCounter,
    pub pictures_reduced: IntGaugeVec,
    pub media_streams: IntGauge,
    pub media_streams_refused: IntCounterVec,
    pub turn_allocations: IntGauge,
    pub turn_streams: IntGauge,
    pub turn_bytes: IntCounterVec,
    pub turn_refusals: IntCounterVec,
    pub turn_dropped: IntCounterVec,
    pub recordings: IntGauge,
    pub recordings_ended: IntCounterVec,
    pub recordings_removed: IntCounterVec,
    pub recording_uploads: IntCounterVec,
    pub recording_upload_bytes: IntCounter,
    pub recording_uploads_waiting: IntGauge,
    pub recording_bytes: IntCounter,
    pub recording_packets: IntCounter,
    pub recorder_cpu: CounterVec,
    pub recording_packets_dropped: IntCounter,
    pub recording_queue_bytes: IntGauge,
    pub recordings_refused: IntCounterVec,
    pub data_free_bytes: IntGauge,
    pub data_disk_bytes: IntGauge,
    pub audit_dropped: IntCounterVec,
    pub webhook_deliveries: IntCounterVec,
    pub webhook_backlog: IntGaugeVec,
    pub webhook_oldest: IntGaugeVec,
    pub exports: IntCounterVec,
    pub exports_running: IntGauge,
    pub exports_waiting: IntGauge,
}

impl Metrics {
    /// A registry with the shell's own metrics and those of the workers.
    pub fn new(workers: Vec<Arc<WorkerStats>>) -> Self {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help).expect("a valid constant name");
            registry.register(Box::new(gauge.clone())).expect("registered once");
            gauge
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help).expect("a valid constant name");
            registry.register(Box::new(counter.clone())).expect("registered once");
            counter
        };
        let gauges = |name: &str, help: &str, label: &str| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &[label]).expect("a valid constant name");
            registry.register(Box::new(gauges.clone())).expect("registered once");
            gauges
        };
        let counters = |name: &str, help: &str, label: &str| {
            let counters =
                IntCounterVec::new(Opts::new(name, help), &[label]).expect("a valid constant name");
            registry.register(Box::new(counters.clone())).expect("registered once");
            counters
        };
        let seconds = |name: &str, help: &str, label: &str| {
            let counters = CounterVec::new(Opts::new(name, help), &[label]).expect("a valid constant name");
            registry.register(Box::new(counters.clone())).expect("registered once");
            counters
        };
        let pairs = |name: &str, help: &str, labels: [&str; 2]| {
            let counters = IntCounterVec::new(Opts::new(name, help), &labels).expect("a valid constant name");
            registry.register(Box::new(counters.clone())).expect("registered once");
            counters
        };
        let histogram = |name: &str, help: &str, seconds: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(seconds.to_vec());
            let histogram = Histogram::with_opts(options).expect("a valid constant name");
            registry.register(Box::new(histogram.clone())).expect("registered once");
            histogram
        };
        let metrics = Metrics {
            rooms: gauge("lectern_rooms", "Rooms that are open."),
            participants: gauge("lectern_participants", "Participants who are present."),
            joins: counters("lectern_joins_total", "Joins, by result: ok, or the error code.", "result"),
            join_seconds: histogram(
                "lectern_join_seconds",
                "From the join request to its acknowledgement.",
                &[0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0],
            ),
            checks: counters(
                "lectern_checks_total",
                "Tests before class that were begun, by result: ok, or the error code.",
                "result",
            ),
            checks_running: gauge("lectern_checks", "Tests before class that are under way."),
            sockets: gauge("lectern_sockets", "Signalling connections."),
            sockets_refused: counters(
                "lectern_sockets_refused_total",
                "Refused signalling connections.",
                "reason",
            ),
            sockets_closed: counters(
                "lectern_sockets_closed_total",
                "Signalling connections that the server closed.",
                "reason",
            ),
            requests: counters(
                "lectern_requests_total",
                "Signalling requests, by result: ok, or the error code.",
                "result",
            ),
            http_connections: gauge("lectern_http_connections", "TCP connections of HTTP and signalling."),
            http_connections_refused: counters(
                "lectern_http_connections_refused_total",
                "Refused TCP connections.",
                "reason",
            ),
            append_seconds: histogram(
                "lectern_lesson_append_seconds",
                "From handing events to the lesson store to knowing that they are on disk.",
                &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0],
            ),
            append_events: counter("lectern_lesson_events_total", "Lesson events stored."),
            append_errors: counter(
                "lectern_lesson_append_errors_total",
                "Failed attempts to store lesson events.",
            ),
            room_events_dropped: counter(
                "lectern_room_events_dropped_total",
                "Events of media that a room did not take in time.",
            ),
            pictures_reduced: gauges(
                "lectern_pictures_reduced",
                "Pictures that are shown smaller than asked for, or not at all, now, by reason.",
                "reason",
            ),
            media_streams: gauge("lectern_media_streams", "TCP connections that carry media (ICE-TCP)."),
            media_streams_refused: counters(
                "lectern_media_streams_refused_total",
                "TCP connections for media that were ended, by reason.",
                "reason",
            ),
            turn_allocations: gauge("lectern_turn_allocations", "Relayed addresses of TURN in use."),
            recordings: gauge("lectern_recordings", "Recordings that are being made."),
            recordings_ended: counters(
                "lectern_recordings_ended_total",
                "Recordings that have ended, by how: final, failed (they could not be written any more), disk-full.",
                "result",
            ),
            recordings_removed: counters(
                "lectern_recordings_removed_total",
                "Recordings that were removed, by why: asked, retention.",
                "reason",
            ),
            recording_uploads: counters(
                "lectern_recording_uploads_total",
                "Attempts to bring recordings into the bucket, by result: ok, failed (it is tried again).",
                "result",
            ),
            recording_upload_bytes: counter(
                "lectern_recording_upload_bytes_total",
                "Bytes of recordings that are in the bucket and were read back.",
            ),
            recording_uploads_waiting: gauge(
                "lectern_recording_uploads_waiting",
                "Recordings that are to be brought into the bucket.",
            ),
            recording_bytes: counter(
                "lectern_recording_bytes_total",
                "Bytes of recordings given to the disk.",
            ),
            recording_packets: counter(
                "lectern_recording_packets_total",
                "Packets that recordings have taken.",
            ),
            recorder_cpu: seconds(
                "lectern_recorder_cpu_seconds_total",
                "CPU time of the recorder's threads, by what for: packets (put together into frames), mix (of the voices, and what is handed on with it), write, sync (made safe on the disk), wake.",
                "part",
            ),
            recording_packets_dropped: counter(
                "lectern_recording_packets_dropped_total",
                "Packets that no recording has, because the recorder or the disk was behind.",
            ),
            recording_queue_bytes: gauge("lectern_recording_queue_bytes", "Bytes that wait for the disk."),
            recordings_refused: counters(
                "lectern_recordings_refused_total",
                "Recordings that were asked for and not begun, by reason: disk-full, no-folder.",
                "reason",
            ),
            data_free_bytes: gauge(
                "lectern_data_free_bytes",
                "Bytes that are free on the disk of the data folder.",
            ),
            data_disk_bytes: gauge("lectern_data_disk_bytes", "Bytes of the disk of the data folder."),
            audit_dropped: counters(
                "lectern_audit_dropped_total",
                "Acts that are not in the audit, by reason: flood (refused acts, more than 120 in a minute), full (the disk is too slow).",
                "reason",
            ),
            webhook_deliveries: counters(
                "lectern_webhook_deliveries_total",
                "Deliveries of events to webhook receivers: delivered, failed (attempts), retried (attempts that repeat \
                 one), skipped (events that a receiver will never get).",
                "result",
            ),
            webhook_backlog: gauges(
                "lectern_webhook_backlog_events",
                "Events that a webhook receiver has not got yet. Receivers are numbered as in the settings, from 1.",
                "receiver",
            ),
            webhook_oldest: gauges(
                "lectern_webhook_oldest_timestamp_seconds",
                "When the oldest of those events happened, in Unix time; 0 if there is none.",
                "receiver",
            ),
            exports: pairs(
                "lectern_exports_total",
                "Exports of recordings that have ended, by kind and outcome: done, failed, cancelled.",
                ["kind", "outcome"],
            ),
            exports_running: gauge("lectern_exports_running", "Exports that are being made."),
            exports_waiting: gauge("lectern_exports_waiting", "Exports that wait for their turn."),
            turn_streams: gauge("lectern_turn_streams", "TCP connections of TURN."),
            turn_bytes: counters(
                "lectern_turn_bytes_total",
                "Bytes that TURN has relayed, without its own headers: up from clients, down to them.",
                "direction",
            ),
            turn_refusals: counters(
                "lectern_turn_refusals_total",
                "Requests to TURN that were refused, by reason; each client begins with a challenge.",
                "reason",
            ),
            turn_dropped: counters(
                "lectern_turn_dropped_total",
                "Packets that TURN has not relayed, by reason.",
                "reason",
            ),
            registry: registry.clone(),
        };
        registry.register(Box::new(Workers::new(workers))).expect("registered once");
        metrics.begin_at_zero();
        metrics
    }

    /// A series that appears with its first event has no increase that a rule could see, so those that rules and dashboards in `deploy/` look
    /// at stand there from the start.
    fn begin_at_zero(&self) {
        let counters: [(&IntCounterVec, &[&str]); 14] = [
            (
                &self.joins,
                &["ok", "internal", "offer-refused", "room-full", "unauthenticated", "unavailable"],
            ),
            (&self.checks, &["ok"]),
            (&self.requests, &["ok"]),
            (&self.sockets_refused, &["token-expired", "unauthenticated"]),
            (&self.sockets_closed, &["nonsense", "slow"]),
            (&self.http_connections_refused, &["address", "total"]),
            (&self.media_streams_refused, &["address", "malformed", "silent", "total"]),
            (&self.turn_refusals, &["capacity", "credentials", "quota"]),
            (&self.turn_dropped, &["bandwidth", "peer", "permission", "queue"]),
            (&self.turn_bytes, &["down", "up"]),
            (&self.recordings_ended, &["disk-full", "failed", "final"]),
            (&self.recordings_refused, &["disk-full", "no-folder"]),
            (&self.audit_dropped, &["flood", "full"]),
            (&self.webhook_deliveries, &["delivered", "failed", "retried", "skipped"]),
        ];
        for (counter, values) in counters {
            for value in values {
                counter.with_label_values(&[value]);
            }
        }
        for part in ["mix", "packets", "sync", "wake", "write"] {
            self.recorder_cpu.with_label_values(&[part]);
        }
        for kind in ["composed", "copy", "screen", "sound"] {
            for outcome in ["done", "failed"] {
                self.exports.with_label_values(&[kind, outcome]);
            }
        }
        for reason in ["bandwidth", "hidden", "layer-missing", "policy", "sender-bandwidth", "sender-cpu"] {
            self.pictures_reduced.with_label_values(&[reason]);
        }
    }

    /// All metrics in Prometheus' text format 0.0.4.
    pub fn encode(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// Reads the workers' atomics when metrics are asked for, so that the media path never touches a metrics library.
struct Workers {
    workers: Vec<Arc<WorkerStats>>,
    /// Only to announce one name; the registry compares descriptions to find duplicates.
    description: Desc,
}

impl Workers {
    fn new(workers: Vec<Arc<WorkerStats>>) -> Self {
        let description = Desc::new(
            "lectern_worker_busy_seconds_total".into(),
            "Seconds that the worker's thread worked. Its rate is the busy ratio of a core.".into(),
            vec!["worker".into()],
            std::collections::HashMap::new(),
        )
        .expect("a valid constant name");
        Workers { workers, description }
    }

    fn family(
        &self,
        name: &str,
        help: &str,
        kind: MetricType,
        metric: impl Fn(&WorkerStats) -> Metric,
    ) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(name.into());
        family.set_help(help.into());
        family.set_field_type(kind);
        family.set_metric(
            self.workers
                .iter()
                .enumerate()
                .map(|(index, stats)| {
                    let mut label = LabelPair::default();
                    label.set_name("worker".into());
                    label.set_value(index.to_string());
                    let mut metric = metric(stats);
                    metric.set_label(vec![label]);
                    metric
                })
                .collect(),
        );
        family
    }

    fn counter(&self, name: &str, help: &str, value: impl Fn(&WorkerStats) -> f64) -> MetricFamily {
        self.family(name, help, MetricType::COUNTER, |stats| {
            let mut counter = Counter::default();
            counter.set_value(value(stats));
            let mut metric = Metric::default();
            metric.set_counter(counter);
            metric
        })
    }
}

impl Collector for Workers {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.description]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Vec::with_capacity(COUNTERS.len() + GAUGES.len() + LOOP_COUNTERS.len() + 2);
        for (name, help, value) in COUNTERS {
            families.push(self.counter(name, help, |stats| as_f64(value(&stats.load()))));
        }
        for (name, help, value) in GAUGES {
            families.push(self.family(name, help, MetricType::GAUGE, |stats| {
                let mut gauge = Gauge::default();
                gauge.set_value(as_f64(value(&stats.load())));
                Metric::from_gauge(gauge)
            }));
        }
        families.push(self.counter(&self.description.fq_name, &self.description.help, |stats| {
            Duration::from_nanos(stats.busy_ns.load(Relaxed)).as_secs_f64()
        }));
        for (name, help, value) in LOOP_COUNTERS {
            families.push(self.counter(name, help, |stats| as_f64(value(stats).load(Relaxed))));
        }
        families.push(self.family(
            "lectern_forward_latency_seconds",
            "From receiving a packet to handing its copies to the system.",
            MetricType::HISTOGRAM,
            |stats| histogram(&stats.forward_latency),
        ));
        families
    }
}

fn histogram(latency: &LatencyHistogram) -> Metric {
    let (counts, sum_ns) = latency.read();
    let mut cumulative = 0;
    let mut buckets = Vec::with_capacity(FORWARD_LATENCY_BOUNDS_US.len());
    for (bound, count) in FORWARD_LATENCY_BOUNDS_US.iter().zip(counts) {
        cumulative += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(Duration::from_micros(*bound).as_secs_f64());
        bucket.set_cumulative_count(cumulative);
        buckets.push(bucket);
    }
    let mut histogram = HistogramProto::default();
    histogram.set_bucket(buckets);
    histogram.set_sample_count(counts.iter().sum());
    histogram.set_sample_sum(Duration::from_nanos(sum_ns).as_secs_f64());
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    metric
}

/// Prometheus counts in doubles, exact up to 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "the text format has doubles; beyond 2^53 a counter may be off by one"
)]
fn as_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_appear_with_their_numbers() {
        let stats = Arc::new(WorkerStats::default());
        stats.store(&Counters { rtp_in: 7, peers: 3, ..Counters::default() });
        stats.busy_ns.store(1_500_000_000, Relaxed);
        stats.forward_latency.record(Duration::from_micros(150));
        stats.forward_latency.record_many(Duration::from_secs(1), 2);
        let metrics = Metrics::new(vec![stats, Arc::default()]);
        metrics.joins.with_label_values(&["ok"]).inc();
        let text = String::from_utf8(metrics.encode().unwrap()).unwrap();
        for line in [
            "lectern_rtp_packets_in_total{worker=\"0\"} 7",
            "lectern_rtp_packets_in_total{worker=\"1\"} 0",
            "lectern_peers{worker=\"0\"} 3",
            "lectern_worker_busy_seconds_total{worker=\"0\"} 1.5",
            "lectern_forward_latency_seconds_bucket{worker=\"0\",le=\"0.0001\"} 0",
            "lectern_forward_latency_seconds_bucket{worker=\"0\",le=\"0.0002\"} 1",
            "lectern_forward_latency_seconds_bucket{worker=\"0\",le=\"+Inf\"} 3",
            "lectern_forward_latency_seconds_count{worker=\"0\"} 3",
            "lectern_joins_total{result=\"ok\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn counters_survive_the_way_through_the_atomics() {
        let counters =
            Counters { datagrams_in: 1, keyframe_requests_out: 2, half_open: 3, ..Counters::default() };
        let stats = WorkerStats::default();
        stats.store(&counters);
        assert_eq!(stats.load(), counters);
    }
}
