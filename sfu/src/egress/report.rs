//! Sender reports (RFC 3550, section 6.4.1) and what receivers report of a stream.

use std::time::Duration;

/// Seconds between the epochs of NTP and of Unix (RFC 5905, section 6).
const NTP_EPOCH: u64 = 2_208_988_800;

/// What a sender report says.
#[derive(Debug, Clone, Copy)]
pub struct SenderReport<'a> {
    /// The stream.
    pub ssrc: u32,
    /// Unix time of the report.
    pub time: Duration,
    /// The stream's timestamp at that time.
    pub rtp_time: u32,
    /// Packets and bytes of payload so far, without repairs.
    pub packets: u32,
    /// See above.
    pub bytes: u32,
    /// Name of all that comes from here (RFC 3550, section 6.5.1).
    pub cname: &'a str,
}

impl SenderReport<'_> {
    /// Appends the report and the stream's CNAME to a compound packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0x80, 200, 0, 6]);
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(&ntp(self.time).to_be_bytes());
        out.extend_from_slice(&self.rtp_time.to_be_bytes());
        out.extend_from_slice(&self.packets.to_be_bytes());
        out.extend_from_slice(&self.bytes.to_be_bytes());
        let start = out.len();
        out.extend_from_slice(&[0x81, 202, 0, 0]);
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        let name = &self.cname.as_bytes()[..self.cname.len().min(64)];
        out.extend_from_slice(&[1, u8::try_from(name.len()).unwrap_or(0)]);
        out.extend_from_slice(name);
        // The list ends with at least one zero, on a border of words.
        out.push(0);
        while !(out.len() - start).is_multiple_of(4) {
            out.push(0);
        }
        let words = u8::try_from((out.len() - start) / 4 - 1).expect("a name has at most 64 bytes");
        out[start + 3] = words;
    }
}

/// Seconds and their fraction, 32 bits each.
fn ntp(time: Duration) -> u64 {
    ((time.as_secs() + NTP_EPOCH) << 32) | ((u64::from(time.subsec_nanos()) << 32) / 1_000_000_000)
}

/// The middle 32 bits, by which a report is named.
fn middle(time: Duration) -> u32 {
    u32::try_from((ntp(time) >> 16) & 0xffff_ffff).expect("32 bits")
}

/// The round trip of a report that the receiver answered, from its block of report (RFC 3550, section 6.4.1). `None` if it has answered none,
/// or tells nonsense.
pub fn round_trip(time: Duration, last_report: u32, delay: u32) -> Option<Duration> {
    if last_report == 0 {
        return None;
    }
    let trip = middle(time).wrapping_sub(last_report).wrapping_sub(delay);
    // 65536ths of a second; more than a minute is a clock that went back.
    (trip < 60 << 16).then(|| Duration::from_nanos(u64::from(trip) * 1_000_000_000 / 65_536))
}

/// What receivers report of a stream, over an interval.
#[derive(Debug, Default)]
pub struct Reception {
    /// Newest sequence number that was received, and how many have been missed so far.
    pub last: Option<(u64, u64)>,
    /// Packets that were told of, and the sum of their share of loss.
    told: f64,
    lost: f64,
}

impl Reception {
    /// Takes a block: the newest sequence number with its rollovers, cumulative loss, and the loss since the block before in 256ths.
    pub fn note(&mut self, newest: u64, lost: u64, fraction: u8) {
        let before = self.last.map_or(newest, |(newest, _)| newest);
        #[expect(clippy::cast_precision_loss, reason = "packets of a second")]
        let told = newest.saturating_sub(before) as f64;
        self.told += told;
        self.lost += told * f64::from(fraction) / 256.0;
        self.last = Some((newest, lost));
    }

    /// Share of loss (0 to 1) since the last call.
    pub fn take_loss(&mut self) -> Option<f32> {
        #[expect(clippy::cast_possible_truncation, reason = "a share")]
        let loss = (self.told > 0.0).then(|| (self.lost / self.told) as f32);
        self.told = 0.0;
        self.lost = 0.0;
        loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_as_the_standard_says() {
        let mut out = Vec::new();
        let time = Duration::from_millis(1_500);
        let report =
            SenderReport { ssrc: 0x0102_0304, time, rtp_time: 5, packets: 6, bytes: 7, cname: "lectern" };
        report.write(&mut out);
        let sender = &out[..28];
        assert_eq!(&sender[..8], [0x80, 200, 0, 6, 1, 2, 3, 4]);
        assert_eq!(sender[8..12], (2_208_988_801u32).to_be_bytes());
        assert_eq!(sender[12..16], 0x8000_0000u32.to_be_bytes());
        assert_eq!(sender[16..], [0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 7]);
        let names = &out[28..];
        assert_eq!(names[..4], [0x81, 202, 0, 4]);
        assert_eq!(&names[8..10], [1, 7]);
        assert_eq!(&names[10..17], b"lectern");
        assert_eq!(names[17..], [0, 0, 0]);
    }

    #[test]
    fn the_round_trip_is_what_the_receiver_did_not_hold() {
        let sent = Duration::from_secs(1_000);
        let answered = sent + Duration::from_millis(150);
        let held = 65_536 / 10;
        let trip = round_trip(answered, middle(sent), held).expect("answered");
        assert!(trip.abs_diff(Duration::from_millis(50)) < Duration::from_micros(100), "{trip:?}");
        assert_eq!(round_trip(answered, 0, 0), None);
        assert_eq!(round_trip(answered, middle(sent), 65_536), None, "held longer than it took");
    }

    #[test]
    fn loss_is_weighed_by_packets() {
        let mut reception = Reception::default();
        reception.note(1_000, 0, 0);
        assert_eq!(reception.take_loss(), None, "nothing between");
        reception.note(1_100, 0, 0);
        reception.note(1_400, 75, 64);
        let loss = reception.take_loss().expect("told");
        assert!((loss - 0.1875).abs() < 1e-6, "{loss}");
        assert_eq!(reception.take_loss(), None);
    }
}
