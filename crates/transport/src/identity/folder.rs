//! A folder for its owner alone: 0700, its secrets 0600, each file replaced as a whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::error::IdentityError;
use super::random;
use super::revocation::hex;

/// Mode of a folder.
const FOLDER_MODE: u32 = 0o700;
/// Mode of a file.
const FILE_MODE: u32 = 0o600;

/// What a file was when it was last looked at; another stamp means that it changed.
pub(super) type Stamp = Option<(SystemTime, u64, u64)>;

/// A folder whose mode was checked.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

fn storage(path: &Path, error: &std::io::Error) -> IdentityError {
    if error.kind() == ErrorKind::NotFound {
        return IdentityError::NotFound {
            path: path.to_owned(),
        };
    }
    IdentityError::Storage {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

/// Refuses what others than the owner may open. Windows has no modes: there the profile's folder is the guard.
fn check_mode(path: &Path, file: &File, expected: u32) -> Result<(), IdentityError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let metadata = file.metadata().map_err(|error| storage(path, &error))?;
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(IdentityError::Permissions {
                path: path.to_owned(),
                mode,
                expected,
            });
        }
    }
    #[cfg(not(unix))]
    let _ = (path, file, expected);
    Ok(())
}

impl Folder {
    /// Opens the folder, refusing one that others may enter.
    pub(super) fn open(path: &Path) -> Result<Self, IdentityError> {
        // On Windows a folder cannot be opened as a file; nothing would be checked there anyway.
        #[cfg(unix)]
        {
            let folder = File::open(path).map_err(|error| storage(path, &error))?;
            check_mode(path, &folder, FOLDER_MODE)?;
        }
        #[cfg(not(unix))]
        fs::metadata(path).map_err(|error| storage(path, &error))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Opens the folder, making it and what leads to it.
    pub(super) fn open_or_create(path: &Path) -> Result<Self, IdentityError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::DirBuilderExt;
            builder.mode(FOLDER_MODE);
        }
        builder
            .create(path)
            .map_err(|error| storage(path, &error))?;
        Self::open(path)
    }

    /// A folder inside, made when it is not there.
    pub(super) fn inner(&self, name: &str) -> Result<Self, IdentityError> {
        Self::open_or_create(&self.path.join(name))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn exists(&self, name: &str) -> bool {
        self.path.join(name).exists()
    }

    /// When the file was written, how long it is and which file it is, without reading it.
    pub(super) fn stamp(&self, name: &str) -> Stamp {
        let metadata = fs::metadata(self.path.join(name)).ok()?;
        // Files are replaced, never rewritten, so the inode tells two of the same moment and length apart.
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Some((metadata.modified().ok()?, metadata.len(), inode))
    }

    /// Reads a file of at most `limit` bytes. One that others may open is refused: it may have been read or changed.
    pub(super) fn read(&self, name: &str, limit: usize) -> Result<Vec<u8>, IdentityError> {
        let path = self.path.join(name);
        let file = File::open(&path).map_err(|error| storage(&path, &error))?;
        check_mode(&path, &file, FILE_MODE)?;
        let mut bytes = Vec::new();
        file.take(limit as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| storage(&path, &error))?;
        if bytes.len() > limit {
            return Err(IdentityError::TooLarge {
                object: "file",
                limit,
            });
        }
        Ok(bytes)
    }

    /// Writes a file as a whole: a crash leaves the old bytes or the new ones, durable when this returns.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), IdentityError> {
        let path = self.path.join(name);
        let draft = self
            .path
            .join(format!(".{name}.{}", hex(&random::bytes::<8>())));
        let written = self.write_draft(&draft, &path, bytes);
        if written.is_err() {
            // The draft may hold a secret. That it cannot be removed is less than that it could not be written.
            let _ = fs::remove_file(&draft);
        }
        written.map_err(|error| storage(&path, &error))
    }

    fn write_draft(&self, draft: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(FILE_MODE);
        }
        let mut file = options.open(draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        fs::rename(draft, path)?;
        #[cfg(unix)]
        File::open(&self.path)?.sync_all()?;
        Ok(())
    }

    /// Removes a file. True for the one caller that did: of many, in any process, exactly one is told so.
    pub(super) fn remove(&self, name: &str) -> Result<bool, IdentityError> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(storage(&path, &error)),
        }
    }

    /// Renames a file, replacing what has the new name.
    pub(super) fn rename(&self, name: &str, new: &str) -> Result<(), IdentityError> {
        let path = self.path.join(name);
        fs::rename(&path, self.path.join(new)).map_err(|error| storage(&path, &error))
    }

    /// Puts a file out of the way without losing it, when it is there.
    pub(super) fn set_aside(&self, name: &str) -> Result<(), IdentityError> {
        if self.exists(name) {
            self.rename(name, &format!("{name}.{}", hex(&random::bytes::<8>())))?;
        }
        Ok(())
    }

    /// Names of the files inside that are whole, at most `limit` of them.
    pub(super) fn names(&self, limit: usize) -> Result<Vec<String>, IdentityError> {
        let entries = fs::read_dir(&self.path).map_err(|error| storage(&self.path, &error))?;
        Ok(entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .take(limit)
            .collect())
    }

    /// Waits until no other process changes this folder, and keeps others waiting until the guard is dropped.
    pub(super) fn lock(&self) -> Result<File, IdentityError> {
        let path = self.path.join(".lock");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(FILE_MODE);
        }
        let file = options
            .open(&path)
            .map_err(|error| storage(&path, &error))?;
        file.lock().map_err(|error| storage(&path, &error))?;
        Ok(file)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_may_open_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open_or_create(&place.path().join("deep/identity")).unwrap();
        folder.write("node.key", b"secret").unwrap();
        let file = folder.path("node.key");
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(folder.read("node.key", 100).unwrap(), b"secret");
        assert_eq!(folder.read("node.key", 5).unwrap_err().code(), "too-large");
        for mode in [0o640, 0o604, 0o660, 0o610] {
            set_mode(&file, mode);
            let error = folder.read("node.key", 100).unwrap_err();
            assert_eq!(error.code(), "permissions");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        let path = place.path().join("deep/identity");
        set_mode(&path, 0o750);
        assert_eq!(Folder::open(&path).unwrap_err().code(), "permissions");
    }

    #[test]
    fn one_of_many_removes_a_file() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open_or_create(&place.path().join("tokens")).unwrap();
        folder.write("token", b"x").unwrap();
        let winners: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| usize::from(folder.remove("token").unwrap())))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(winners, 1);
        assert_eq!(folder.names(10).unwrap(), Vec::<String>::new());
    }
}
