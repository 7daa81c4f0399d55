//! The folder of a recording, in which files are what was written into them, whether they lie there sealed or not.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::keys::{DataKey, KEY_FILE, KeyFile, Keys};
use super::log::{self, HEAD_BYTES, Log, Map, Mapped, Records};
use super::reader::{Reader, Trust, read_map};

/// The folder of a recording. Its files are named as seen from it: `v-1.webm`, `export/sound.m4a`.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    /// None when it is not sealed.
    key: Option<DataKey>,
}

impl Folder {
    /// The folder of the recording with this id.
    ///
    /// # Errors
    /// When it is sealed and cannot be opened: with [`super::Locked`] if its master key is not here.
    pub fn open(path: &Path, id: &str, keys: &Keys) -> io::Result<Self> {
        let key = KeyFile::read(path)?.map(|file| file.unwrap(id, keys)).transpose()?;
        Ok(Folder { path: path.to_owned(), key })
    }

    /// That of a new recording, which is made. It is sealed when there is a key.
    pub(in crate::record) fn begin(path: &Path, id: &str, keys: &Keys) -> io::Result<Self> {
        crate::secrets::make_folder(path)?;
        let key = match KeyFile::make(id, keys) {
            Some((file, key)) => file.write(path).map(|()| Some(key))?,
            None => None,
        };
        Ok(Folder { path: path.to_owned(), key })
    }

    /// What its files are sealed with, if they are.
    pub(in crate::record) fn key(&self) -> Option<&DataKey> {
        self.key.as_ref()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its files are sealed.
    pub fn is_sealed(&self) -> bool {
        self.key.is_some()
    }

    /// Opens a file as it is now.
    ///
    /// # Errors
    /// What the disk says, or that the file is damaged.
    pub fn file(&self, name: &str) -> io::Result<Reading> {
        let file = File::open(self.path.join(name))?;
        let bytes = file.metadata()?.len();
        Ok(match &self.key {
            None => Reading::Plain(file, bytes),
            Some(key) => Reading::Sealed(Reader::open(file, bytes, key, name)?),
        })
    }

    /// A whole file.
    ///
    /// # Errors
    /// As [`Folder::file`].
    pub fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file(name)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Makes a file that is not there.
    pub(in crate::record) fn create(&self, name: &str) -> io::Result<Writing> {
        Writing::create(self.path.join(name), name, self.key.as_ref())
    }

    /// Goes on with a file, or makes it. Of a sealed one that was cut off, what is not whole is cut.
    pub(in crate::record) fn resume(&self, name: &str) -> io::Result<Writing> {
        let path = self.path.join(name);
        let Some(data) = &self.key else {
            let file = File::options().write(true).create(true).truncate(false).open(path)?;
            return Ok(Writing::Plain { len: file.metadata()?.len(), file });
        };
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let bytes = file.metadata()?.len();
        let Some((mapped, _)) = read_map(&file, bytes, data, name, Trust::Torn)? else {
            return Writing::begin(file, data, name);
        };
        if mapped.map.end() < bytes {
            file.set_len(mapped.map.end())?;
        }
        Ok(Writing::Sealed { file, log: Log::new(mapped) })
    }

    /// Makes a sealed file that was cut off readable up to its last whole record. Without it such a file is damaged.
    pub(in crate::record) fn mend(&self, name: &str) -> io::Result<()> {
        let Some(data) = &self.key else { return Ok(()) };
        let file = match File::options().read(true).write(true).open(self.path.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        let bytes = file.metadata()?.len();
        match read_map(&file, bytes, data, name, Trust::Torn)? {
            Some((mapped, false)) if mapped.map.end() < bytes => {
                tracing::warn!(
                    name,
                    bytes = bytes - mapped.map.end(),
                    "the torn end of a sealed file is cut off"
                );
                file.set_len(mapped.map.end())
            }
            // Finished, or not begun.
            _ => Ok(()),
        }
    }

    /// Begins a file that will replace the one of this name; until then it is called otherwise, and what has that name is written over.
    ///
    /// # Errors
    /// What the disk says.
    pub fn draft(&self, name: &str, draft: &str) -> io::Result<Draft> {
        let draft = self.path.join(draft);
        let file = File::create(&draft)?;
        let writing = Writing::empty(file, name, self.key.as_ref())?;
        Ok(Draft { writing, waiting: Vec::new(), draft, name: self.path.join(name) })
    }
}

/// Whether this is the folder of a sealed recording.
pub fn is_sealed(folder: &Path) -> bool {
    folder.join(KEY_FILE).exists()
}

/// A file that is read.
#[derive(Debug)]
pub enum Reading {
    /// As it lies there, with its length.
    Plain(File, u64),
    /// Sealed.
    Sealed(Reader<File>),
}

impl Reading {
    /// How long the plain file is.
    pub fn plain_bytes(&self) -> u64 {
        match self {
            Reading::Plain(_, bytes) => *bytes,
            Reading::Sealed(reader) => reader.plain_bytes(),
        }
    }
}

impl Read for Reading {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self {
            Reading::Plain(file, _) => file.read(to),
            Reading::Sealed(reader) => reader.read(to),
        }
    }
}

impl Seek for Reading {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Reading::Plain(file, _) => file.seek(to),
            Reading::Sealed(reader) => reader.seek(to),
        }
    }
}

/// A file that is written. What was not synced may be lost with the machine, and nothing with the process.
#[derive(Debug)]
pub enum Writing {
    /// As it is.
    Plain {
        /// The file.
        file: File,
        /// How long it is.
        len: u64,
    },
    /// Sealed.
    Sealed {
        /// The file.
        file: File,
        /// What it says so far.
        log: Log,
    },
}

impl Writing {
    fn create(path: PathBuf, name: &str, key: Option<&DataKey>) -> io::Result<Self> {
        Writing::empty(File::options().write(true).create_new(true).open(path)?, name, key)
    }

    /// Of an empty file.
    fn empty(file: File, name: &str, key: Option<&DataKey>) -> io::Result<Self> {
        match key {
            None => Ok(Writing::Plain { file, len: 0 }),
            Some(data) => Writing::begin(file, data, name),
        }
    }

    fn begin(file: File, data: &DataKey, name: &str) -> io::Result<Self> {
        let (key, head): (_, [u8; HEAD_BYTES]) = log::begin(data, name);
        file.write_all_at(&head, 0)?;
        Ok(Writing::Sealed { file, log: Log::new(Mapped { key, map: Map::default() }) })
    }

    /// How long the plain file is.
    pub fn plain_bytes(&self) -> u64 {
        match self {
            Writing::Plain { len, .. } => *len,
            Writing::Sealed { log, .. } => log.map().len(),
        }
    }

    /// Writes at the end. What fails has not been written, and may be tried again.
    ///
    /// # Errors
    /// What the disk says.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Writing::Plain { file, len } => {
                file.write_all_at(bytes, *len)?;
                *len += bytes.len() as u64;
                Ok(())
            }
            Writing::Sealed { file, log } => put(file, log, log.append(bytes)),
        }
    }

    /// Writes over what is there.
    ///
    /// # Errors
    /// What the disk says; of a sealed file, also when it ends before.
    pub fn patch(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        match self {
            Writing::Plain { file, .. } => file.write_all_at(bytes, at),
            Writing::Sealed { file, log } => {
                let records = log.patch(at, bytes).ok_or(io::ErrorKind::UnexpectedEof)?;
                put(file, log, records)
            }
        }
    }

    /// Cuts it, if it is longer.
    ///
    /// # Errors
    /// What the disk says.
    pub fn cut(&mut self, bytes: u64) -> io::Result<()> {
        match self {
            Writing::Plain { file, len } => {
                file.set_len(bytes.min(*len))?;
                *len = bytes.min(*len);
                Ok(())
            }
            Writing::Sealed { file, log } => put(file, log, log.cut(bytes)),
        }
    }

    /// Brings it to the disk.
    ///
    /// # Errors
    /// What the disk says.
    pub fn sync(&self) -> io::Result<()> {
        match self {
            Writing::Plain { file, .. } | Writing::Sealed { file, .. } => file.sync_data(),
        }
    }

    /// Ends it, and brings it to the disk. A sealed file gets its index.
    ///
    /// # Errors
    /// What the disk says.
    pub fn finish(self) -> io::Result<()> {
        if let Writing::Sealed { file, log } = &self {
            write(file, &log.end(), log.map().end())?;
        }
        self.sync()
    }
}

fn put(file: &File, log: &mut Log, records: Records) -> io::Result<()> {
    write(file, &records.bytes, log.map().end())?;
    log.wrote(records);
    Ok(())
}

/// All of it, or what there is of it goes again: behind the next record it would be taken for one.
fn write(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    file.write_all_at(bytes, at).inspect_err(|_| {
        // If the disk does not even do that, the next start cuts it.
        let _ = file.set_len(at);
    })
}

/// A file that has not got its name yet.
#[derive(Debug)]
pub struct Draft {
    writing: Writing,
    /// Not written yet: few large records are better than many small ones.
    waiting: Vec<u8>,
    draft: PathBuf,
    name: PathBuf,
}

impl Draft {
    /// Finishes it, and puts it in the place of the one of its name in one step. Gives how long the plain file is.
    ///
    /// # Errors
    /// What the disk says.
    pub fn place(mut self) -> io::Result<u64> {
        self.flush()?;
        let bytes = self.writing.plain_bytes();
        self.writing.finish()?;
        std::fs::rename(&self.draft, &self.name)?;
        // The name is safe when its folder is.
        File::open(self.name.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(bytes)
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= log::PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            self.writing.append(&self.waiting)?;
            self.waiting.clear();
        }
        Ok(())
    }
}
