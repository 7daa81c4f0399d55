//! Sealed files in memory: whatever is written, cut off and damaged.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

use proptest::prelude::*;

use super::Folder;
use super::keys::{DataKey, KeyFile, Keys};
use super::log::{self, HEAD_BYTES, Log, Map, Mapped, Records};
use super::reader::{Reader, Source, Sparse, Stream, Trust, read_map};

const NAME: &str = "v-1.webm";

impl Source for &[u8] {
    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let mut sparse = Sparse::default();
        sparse.add(0, self.to_vec());
        sparse.read_exact_at(bytes, at)
    }
}

fn data() -> DataKey {
    KeyFile::make("r", &Keys::of(&[1])).unwrap().1
}

/// What somebody does to a file. Numbers are taken within what it has.
#[derive(Debug, Clone)]
enum Step {
    Append(Vec<u8>),
    Patch(u64, Vec<u8>),
    Cut(u64),
    /// The process ends and another goes on.
    Again,
    /// The same in the middle of a record of which so much was written.
    Torn(u64),
    /// The same after it was finished.
    Finished,
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        8 => bytes().prop_map(Step::Append),
        1 => (any::<u8>(), 60_000..150_000_usize).prop_map(|(byte, len)| Step::Append(vec![byte; len])),
        4 => (any::<u64>(), bytes()).prop_map(|(at, bytes)| Step::Patch(at, bytes)),
        2 => any::<u64>().prop_map(Step::Cut),
        1 => Just(Step::Again),
        1 => any::<u64>().prop_map(Step::Torn),
        1 => Just(Step::Finished),
    ]
}

/// A sealed file beside the plain one that it is to be.
struct World {
    data: DataKey,
    stored: Vec<u8>,
    log: Log,
    plain: Vec<u8>,
    /// What the plain one was after so many stored bytes.
    past: Vec<(usize, Vec<u8>)>,
}

impl World {
    fn new() -> Self {
        let data = data();
        let (key, head) = log::begin(&data, NAME);
        let past = vec![(0, Vec::new())];
        let log = Log::new(Mapped { key, map: Map::default() });
        World { data, stored: head.to_vec(), log, plain: Vec::new(), past }
    }

    fn put(&mut self, records: Records) {
        self.stored.extend_from_slice(&records.bytes);
        self.log.wrote(records);
        assert_eq!(self.log.map().end(), self.stored.len() as u64);
        self.past.push((self.stored.len(), self.plain.clone()));
    }

    fn again(&mut self) {
        let bytes = self.stored.len() as u64;
        let read = read_map(&self.stored.as_slice(), bytes, &self.data, NAME, Trust::Torn).unwrap();
        let (mapped, _) = read.unwrap();
        self.stored.truncate(mapped.map.end() as usize);
        self.log = Log::new(mapped);
        self.past.retain(|(bytes, _)| *bytes <= self.stored.len());
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append(bytes) => {
                let records = self.log.append(&bytes);
                // Several records are several steps, each of which may be the last.
                let mut at = self.stored.len();
                for piece in bytes.chunks(log::PIECE_BYTES) {
                    self.plain.extend_from_slice(piece);
                    at += piece.len() + 41;
                    self.past.push((at, self.plain.clone()));
                }
                self.put(records);
            }
            Step::Patch(at, bytes) => {
                let at = (at % (self.plain.len() as u64 + 1)) as usize;
                let bytes = &bytes[..bytes.len().min(self.plain.len() - at)];
                self.plain[at..at + bytes.len()].copy_from_slice(bytes);
                let records = self.log.patch(at as u64, bytes).unwrap();
                self.put(records);
                assert!(self.log.patch(self.plain.len() as u64, b"x").is_none());
            }
            Step::Cut(at) => {
                let at = at % (self.plain.len() as u64 + 1);
                self.plain.truncate(at as usize);
                let records = self.log.cut(at);
                self.put(records);
            }
            Step::Again => self.again(),
            Step::Torn(part) => {
                let torn = self.log.append(&[9; 50]).bytes;
                self.stored.extend_from_slice(&torn[..(part % torn.len() as u64) as usize]);
                self.again();
            }
            Step::Finished => {
                self.stored.extend_from_slice(&self.log.end());
                self.again();
            }
        }
    }

    fn of(steps: Vec<Step>) -> Self {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.take(step));
        world
    }

    fn read(&self, stored: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        Reader::open(stored, stored.len() as u64, &self.data, NAME)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// What a file that was cut off after so many bytes says.
    fn at(&self, bytes: usize) -> &[u8] {
        &self.past.iter().rfind(|(stored, _)| *stored <= bytes).unwrap().1
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Read whole, in parts, and as it comes out of a bucket: what was written.
    #[test]
    fn what_was_written_is_read(
        steps in prop::collection::vec(step(), 0..40),
        parts in prop::collection::vec((any::<u64>(), any::<u64>(), 1..5000_usize), 1..8),
    ) {
        let mut world = World::of(steps);
        prop_assert!(world.read(&world.stored).unwrap() == world.plain);
        let end = world.log.end();
        world.stored.extend_from_slice(&end);
        prop_assert!(world.read(&world.stored).unwrap() == world.plain);
        let len = world.plain.len() as u64;
        let stored = world.stored.as_slice();
        let mut reader = Reader::open(stored, stored.len() as u64, &world.data, NAME).unwrap();
        prop_assert_eq!(reader.plain_bytes(), len);

        // Nothing is here at first.
        let mut sparse = Sparse::default();
        let file = loop {
            match read_map(&sparse, stored.len() as u64, &world.data, NAME, Trust::Strict) {
                Ok(file) => break file.unwrap(),
                Err(error) => {
                    let needs = Sparse::needs(&error).unwrap();
                    sparse.add(needs.start, stored[needs.start as usize..needs.end as usize].to_vec());
                }
            }
        };
        prop_assert!(file.1);
        let file = Arc::new(file.0);
        for (from, to, pieces) in parts {
            let (from, to) = (from % (len + 1), to % (len + 1));
            let (from, to) = (from.min(to), from.max(to));
            let part = &world.plain[from as usize..to as usize];
            let mut read = vec![0; part.len()];
            reader.seek(SeekFrom::Start(from)).unwrap();
            reader.read_exact(&mut read).unwrap();
            prop_assert!(read == part);
            let Some(mut stream) = Stream::new(file.clone(), from..to) else {
                prop_assert!(part.is_empty());
                continue;
            };
            let needs = stream.needs();
            let mut streamed = Vec::new();
            for piece in stored[needs.start as usize..needs.end as usize].chunks(pieces) {
                streamed.extend(stream.take(piece).unwrap());
            }
            prop_assert!(streamed == part);
        }
        prop_assert!(Stream::new(file.clone(), 0..len + 1).is_none());
    }

    /// Wherever a file that is written ends: what was whole then is read, and it goes on from there.
    #[test]
    fn a_torn_file_is_whole_up_to_its_last_record(
        steps in prop::collection::vec(step(), 0..20),
        cuts in prop::collection::vec(any::<u64>(), 1..30),
    ) {
        let mut world = World::of(steps);
        let whole = world.stored.len();
        let end = world.log.end();
        world.stored.extend_from_slice(&end);
        // Near the end at every byte.
        let ends = whole.saturating_sub(60)..world.stored.len();
        let cuts = cuts.into_iter().map(|cut| (cut % (world.stored.len() as u64 + 1)) as usize).chain(ends);
        for cut in cuts {
            let torn = &world.stored[..cut];
            prop_assert!(world.read(torn).unwrap() == world.at(cut), "at {}", cut);
            let read = read_map(&torn, cut as u64, &world.data, NAME, Trust::Torn).unwrap();
            prop_assert_eq!(read.is_none(), cut < HEAD_BYTES);
            if let Some((mapped, finished)) = read {
                prop_assert_eq!(finished, cut == world.stored.len());
                let (at, log) = (mapped.map.end() as usize, Log::new(mapped));
                let mut again = torn[..at].to_vec();
                again.extend_from_slice(&log.append(b"goes on").bytes);
                prop_assert!(world.read(&again).unwrap() == [world.at(cut), b"goes on"].concat());
            }
        }
    }

    /// Zeros or anything else where the disk had not written yet.
    #[test]
    fn what_a_loss_of_power_leaves_is_cut(
        steps in prop::collection::vec(step(), 0..20),
        rest in prop_oneof![prop::collection::vec(any::<u8>(), 1..300), Just(vec![0; 5000]), Just(Vec::new())],
        written in 25..60_usize,
    ) {
        let mut world = World::of(steps);
        let whole = world.stored.len();
        if rest.is_empty() {
            // The file has its length, and of the last record only the beginning.
            let record = world.log.append(&[9; 50]).bytes;
            world.stored.extend_from_slice(&record[..written]);
            world.stored.resize(whole + record.len(), 0);
        }
        world.stored.extend_from_slice(&rest);
        world.again();
        prop_assert_eq!(world.stored.len(), whole);
        prop_assert!(world.read(&world.stored).unwrap() == world.plain);
    }

    /// One bit anywhere, two records in another order, one that is missing, twice there, or another file's: an error, or what was there before.
    #[test]
    fn damage_is_found(
        steps in prop::collection::vec(step(), 1..20),
        flips in prop::collection::vec((any::<u64>(), 0..8_u8), 1..60),
    ) {
        let mut world = World::of(steps);
        let whole = world.stored.len();
        let known = |found: io::Result<Vec<u8>>, world: &World| match found {
            Ok(found) => world.past.iter().any(|(_, past)| *past == found),
            Err(error) => error.kind() == io::ErrorKind::InvalidData,
        };
        for (at, bit) in &flips {
            let mut stored = world.stored.clone();
            stored[(at % whole as u64) as usize] ^= 1 << bit;
            prop_assert!(known(world.read(&stored), &world));
        }
        let ends: Vec<usize> = world.past.iter().map(|(at, _)| *at).filter(|at| *at > HEAD_BYTES).collect();
        let starts: Vec<usize> = [HEAD_BYTES].into_iter().chain(ends.clone()).collect();
        let other = World::of(vec![Step::Append(vec![1; 10]), Step::Append(vec![2; 10])]);
        for (number, (start, end)) in starts.iter().zip(&ends).enumerate() {
            if start >= end {
                continue;
            }
            let (before, record, behind) =
                (&world.stored[..*start], &world.stored[*start..*end], &world.stored[*end..]);
            let foreign = &other.stored[HEAD_BYTES..HEAD_BYTES + 51];
            for wrong in [
                [before, behind].concat(),
                [before, record, record, behind].concat(),
                [before, foreign, behind].concat(),
                [before, behind, record].concat(),
            ] {
                prop_assert!(known(world.read(&wrong), &world), "record {}", number);
            }
        }
        // A finished one is as it was, or it is an error.
        let end = world.log.end();
        world.stored.extend_from_slice(&end);
        for (at, bit) in flips {
            let mut stored = world.stored.clone();
            let at = (at % stored.len() as u64) as usize;
            stored[at] ^= 1 << bit;
            match world.read(&stored) {
                Ok(found) => prop_assert!(found == world.plain, "a bit at {}", at),
                Err(error) => prop_assert_eq!(error.kind(), io::ErrorKind::InvalidData),
            }
        }
        // Under another name it is another's.
        let stored = world.stored.as_slice();
        let mut found = Vec::new();
        let renamed = Reader::open(stored, stored.len() as u64, &world.data, "v-2.webm");
        prop_assert!(renamed.and_then(|mut reader| reader.read_to_end(&mut found)).is_err());
    }
}

/// What sealing costs beside writing alone. `cargo test -p lectern --lib cost_of_sealing -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn cost_of_sealing() {
    /// What a camera and a microphone make in a quarter of a second, in which files are flushed.
    const FLUSH_BYTES: usize = 48_000;
    const MEGABYTES: usize = 512;
    let bytes = FLUSH_BYTES * (MEGABYTES * 1_000_000 / FLUSH_BYTES);
    let cpu_ns = || -> u64 {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        stat.split(' ').next().unwrap().parse().unwrap()
    };
    let flush: Vec<u8> = (0..FLUSH_BYTES).map(|at| (at * 7 % 251) as u8).collect();
    let per_megabyte = |ns: u64| ns as f64 / 1e3 / (bytes as f64 / 1e6);
    let costs = [Keys::default(), Keys::of(&[1])].map(|keys| {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::begin(&root.path().join("r"), "r", &keys).unwrap();
        let mut file = folder.create(NAME).unwrap();
        let start = cpu_ns();
        for _ in 0..bytes / FLUSH_BYTES {
            file.append(&flush).unwrap();
        }
        file.finish().unwrap();
        let written = per_megabyte(cpu_ns() - start);
        let start = cpu_ns();
        let copied = io::copy(&mut folder.file(NAME).unwrap(), &mut io::sink()).unwrap();
        assert_eq!(copied, bytes as u64);
        (written, per_megabyte(cpu_ns() - start))
    });
    let [(plain, plain_read), (sealed, sealed_read)] = costs;
    println!(
        "written: plain {plain:.0} us/MB, sealed {sealed:.0} us/MB, {:.2} times; read: {plain_read:.0}, {sealed_read:.0} us/MB",
        sealed / plain
    );
}
