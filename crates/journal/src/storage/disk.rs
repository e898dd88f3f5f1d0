//! A folder of the file system, held by this process alone.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Storage, StorageFile};

const LOCK: &str = "lock";
const BLOCK: usize = 4_096;

/// A folder. Writers hold its `lock` file until they are dropped; the operating system releases it when they die.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    /// Held, never read.
    _lock: Option<File>,
    writable: bool,
}

impl Disk {
    /// Opens the folder for writing, making it when it is not there, readable by its owner alone.
    ///
    /// # Errors
    /// `WouldBlock` when another process has it open, `PermissionDenied` or `ReadOnlyFilesystem` when it cannot be
    /// written.
    pub fn open(folder: &Path) -> io::Result<Self> {
        make_private(folder)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(
                    io::ErrorKind::WouldBlock,
                    format!("{} is in use", folder.display()),
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(Self {
            folder: folder.to_owned(),
            _lock: Some(lock),
            writable: true,
        })
    }

    /// Looks into the folder without holding it, also while another process writes.
    ///
    /// # Errors
    /// `NotFound` when it is not there.
    pub fn open_read_only(folder: &Path) -> io::Result<Self> {
        fs::read_dir(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            _lock: None,
            writable: false,
        })
    }

    fn must_write(&self) -> io::Result<()> {
        if self.writable {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "opened for reading only",
        ))
    }

    /// A new or removed name is durable when its folder is.
    fn sync_folder(&self) -> io::Result<()> {
        // Windows has no such call: there NTFS journals names by itself.
        if cfg!(unix) {
            File::open(&self.folder)?.sync_all()?;
        }
        Ok(())
    }
}

impl Storage for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let path = self.folder.join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(self.writable)
            .open(&path)?;
        Ok(Arc::new(DiskFile::new(file, path)))
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn StorageFile>> {
        self.must_write()?;
        let path = self.folder.join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        let reserved = preallocate(&file, bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| self.sync_folder());
        if let Err(error) = reserved {
            // Half a file of zeros helps nobody, least of all on a full disk.
            drop(fs::remove_file(&path));
            return Err(error);
        }
        Ok(Arc::new(DiskFile::new(file, path)))
    }

    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.must_write()?;
        let draft = self.folder.join(format!("{name}.new"));
        let file = File::create(&draft)?;
        write_at(&file, 0, content)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&draft, self.folder.join(name))?;
        self.sync_folder()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.must_write()?;
        match fs::remove_file(self.folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn block(&self) -> u32 {
        // A page of the cache, and a sector of current disks.
        BLOCK as u32
    }

    fn durable(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct DiskFile {
    file: File,
    path: PathBuf,
    /// The same file past the cache of the operating system, opened by the first write that can go there. Whole blocks
    /// from memory that begins at one then reach the device without a copy, and a sync has no pages to look for.
    /// Locked for a write, of which there is one at a time.
    direct: Mutex<Direct>,
}

#[derive(Debug)]
enum Direct {
    Untried,
    Open(File),
    Unavailable,
}

impl DiskFile {
    fn new(file: File, path: PathBuf) -> Self {
        Self {
            file,
            path,
            direct: Mutex::new(Direct::Untried),
        }
    }

    fn direct(&self) -> MutexGuard<'_, Direct> {
        self.direct.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False when the bytes have to go by way of the cache; then nothing is known of what was written of them.
    fn write_direct(&self, offset: u64, bytes: &[u8]) -> io::Result<bool> {
        let whole = |number: usize| number.is_multiple_of(BLOCK);
        if !whole(bytes.len())
            || !whole(bytes.as_ptr().addr())
            || !offset.is_multiple_of(BLOCK as u64)
        {
            return Ok(false);
        }
        let mut direct = self.direct();
        if matches!(*direct, Direct::Untried) {
            *direct = open_direct(&self.path).map_or(Direct::Unavailable, Direct::Open);
        }
        let Direct::Open(direct) = &*direct else {
            return Ok(false);
        };
        match write_at(direct, offset, bytes) {
            Ok(()) => Ok(true),
            // A device with blocks of another size, or a file system that only says so now.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl StorageFile for DiskFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < into.len() {
            match read_at(&self.file, offset + done as u64, &mut into[done..]) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.write_direct(offset, bytes)? {
            return Ok(());
        }
        write_at(&self.file, offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        // The size never changes after creation, so the data is all there is to sync. It is the file that is synced, by
        // whichever descriptor it was written.
        self.file.sync_data()
    }

    fn rest(&self) {
        *self.direct() = Direct::Untried;
    }
}

fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(target_os = "linux")]
fn open_direct(path: &Path) -> Option<File> {
    use std::os::unix::fs::OpenOptionsExt;
    // File systems without it refuse here.
    OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_DIRECT)
        .open(path)
        .ok()
}

#[cfg(not(target_os = "linux"))]
fn open_direct(_path: &Path) -> Option<File> {
    None
}

#[cfg(unix)]
fn read_at(file: &File, offset: u64, into: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, into, offset)
}

#[cfg(windows)]
fn read_at(file: &File, offset: u64, into: &mut [u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, into, offset)
}

#[cfg(unix)]
fn write_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_at(file: &File, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                offset += count as u64;
                bytes = &bytes[count..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reserves the blocks, so that a full disk is met here and never in the middle of a record, and so that a sync has
/// no new size to write.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "std has no fallocate")]
fn preallocate(file: &File, bytes: u64) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    loop {
        // SAFETY: the descriptor is open while `file` is borrowed; the call touches no memory of ours.
        let status = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, bytes as libc::off_t) };
        match status {
            0 => return Ok(()),
            libc::EINTR => {}
            // File systems that cannot reserve: the size alone, and a full disk is met by a write.
            libc::EOPNOTSUPP | libc::EINVAL => return file.set_len(bytes),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn preallocate(file: &File, bytes: u64) -> io::Result<()> {
    file.set_len(bytes)
}
