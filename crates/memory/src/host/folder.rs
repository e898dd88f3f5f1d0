//! The folder of this user's sockets, which nobody else may enter.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::socket::{MAX_PATH, Socket};

/// Entries of the folder that are looked at when a process opens: what killed processes have left goes.
const MAX_SWEPT: usize = 4_096;
/// A socket that is not listened on yet has this in its name.
const UNFINISHED: &str = "new";
/// From then on nobody is about to listen on it.
const ABANDONED: Duration = Duration::from_secs(60);

/// A listening socket in the owner-only folder of this user; it goes when it is dropped, or else, when its process was killed,
/// with the next one that opens.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: Socket,
    path: PathBuf,
}

impl Listener {
    /// Listens under a random name in the folder `linkmesh-<user>` of `base`.
    pub(super) fn open(base: &Path) -> io::Result<Self> {
        let folder = base.join(format!("linkmesh-{}", user()));
        let name = format!("{:016x}", u64::from_le_bytes(random::<8>()?));
        let path = folder.join(name);
        let unfinished = path.with_extension(UNFINISHED);
        if unfinished.as_os_str().len() > MAX_PATH {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "the socket {} has more than {MAX_PATH} bytes: name a shorter folder",
                    unfinished.display()
                ),
            ));
        }
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => check(&folder)?,
        }
        sweep(&folder);
        // Found by nobody before it listens: one that refuses has been left behind.
        let socket = Socket::listen(&unfinished, 16)?;
        if let Err(error) = fs::rename(&unfinished, &path) {
            // Best effort: the next process removes it.
            let _ = fs::remove_file(&unfinished);
            return Err(error);
        }
        Ok(Self { socket, path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Best effort: the next process removes it. The folder stays: another process may be about to use it.
        let _ = fs::remove_file(&self.path);
    }
}

/// Somebody else may have made the folder, in a place where everybody can.
fn check(folder: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(folder)?;
    let others_may = found.mode() & 0o077;
    if found.is_dir() && others_may == 0 && found.uid() == user() {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!(
            "{} is not a folder that this user alone may enter: remove it, or use another folder",
            folder.display()
        ),
    ))
}

/// Removes the sockets of processes that were killed.
fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.take(MAX_SWEPT).flatten() {
        let path = entry.path();
        let is_socket = entry.file_type().is_ok_and(|kind| kind.is_socket());
        let dead = if path.extension().is_some_and(|name| name == UNFINISHED) {
            entry
                .metadata()
                .and_then(|found| found.modified())
                .is_ok_and(|at| {
                    SystemTime::now()
                        .duration_since(at)
                        .is_ok_and(|age| age > ABANDONED)
                })
        } else {
            Socket::connect(&path)
                .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        };
        if is_socket && dead {
            // Another process may have been faster.
            let _ = fs::remove_file(&path);
        }
    }
}

/// Where the folder is made unless the user names another place: the user's own run-time folder, else the one for
/// temporary files.
pub(super) fn default_base() -> PathBuf {
    std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute() && path.is_dir())
        .unwrap_or_else(std::env::temp_dir)
}

/// The user that this process acts as.
pub(super) fn user() -> u32 {
    // SAFETY: cannot fail and touches nothing.
    unsafe { libc::geteuid() }
}

/// Bytes from the kernel's generator.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    // SAFETY: N bytes of ours; up to 256 arrive at once.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) };
    if got == N as isize {
        Ok(bytes)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The kernel's boot id, which all processes under it see alike.
pub(super) fn kernel_id() -> io::Result<[u8; 16]> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16)
        .map(u128::to_be_bytes)
        .map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "the kernel's boot id is not a number",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_owner_only_and_the_socket_goes_with_the_listener() {
        let base = tempfile::tempdir().unwrap();
        let listener = Listener::open(base.path()).unwrap();
        let folder = listener.path().parent().unwrap().to_owned();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        assert!(Socket::connect(listener.path()).is_ok());
        drop(listener);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        let long = base.path().join("x".repeat(100));
        assert_eq!(
            Listener::open(&long).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
    }

    #[test]
    fn what_a_killed_process_left_goes_and_what_lives_stays() {
        let base = tempfile::tempdir().unwrap();
        let living = Listener::open(base.path()).unwrap();
        let folder = living.path().parent().unwrap().to_owned();
        let left = folder.join("0123456789abcdef");
        drop(Socket::listen(&left, 1).unwrap());
        let begun = folder.join("fedcba9876543210.new");
        drop(Socket::listen(&begun, 1).unwrap());
        fs::write(folder.join("notes"), "not ours").unwrap();
        let next = Listener::open(base.path()).unwrap();
        assert!(!left.exists());
        assert!(begun.exists(), "somebody may be about to listen on it");
        assert!(folder.join("notes").exists());
        assert!(Socket::connect(living.path()).is_ok());
        assert!(Socket::connect(next.path()).is_ok());
    }

    #[test]
    fn a_folder_that_others_may_enter_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join(format!("linkmesh-{}", user()));
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(
            Listener::open(base.path()).unwrap_err().kind(),
            io::ErrorKind::PermissionDenied
        );
        fs::remove_dir(&folder).unwrap();
        std::os::unix::fs::symlink(base.path(), &folder).unwrap();
        assert_eq!(
            Listener::open(base.path()).unwrap_err().kind(),
            io::ErrorKind::PermissionDenied
        );
    }

    #[test]
    fn the_kernel_is_the_same_each_time() {
        assert_eq!(kernel_id().unwrap(), kernel_id().unwrap());
    }
}
