//! The folder of this process's socket, which nobody else may enter.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use super::socket::{MAX_PATH, Socket};

/// A listening socket in an owner-only folder; both go when it is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: Socket,
    path: PathBuf,
}

impl Listener {
    /// Makes a folder with a random name in `base` and listens in it.
    pub(super) fn open(base: &Path) -> io::Result<Self> {
        let name = random::<8>()?;
        let folder = base.join(format!("linkmesh-{:016x}", u64::from_le_bytes(name)));
        let path = folder.join("host");
        if path.as_os_str().len() > MAX_PATH {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "the socket {} has more than {MAX_PATH} bytes: name a shorter folder",
                    path.display()
                ),
            ));
        }
        // Fails when it exists, whatever it is: nobody can have prepared it.
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let listen = || {
            let made = fs::symlink_metadata(&folder)?;
            if made.mode() & 0o077 != 0 || made.uid() != user() {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    format!(
                        "{} is not owner-only, although it was made so: use another folder",
                        folder.display()
                    ),
                ));
            }
            Socket::listen(&path, 16)
        };
        match listen() {
            Ok(socket) => Ok(Self { socket, path }),
            Err(error) => {
                // Made above and empty; when it cannot be removed the error below is the one to tell.
                let _ = fs::remove_dir(&folder);
                Err(error)
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Best effort: what is left behind is an empty folder that only this user sees.
        let _ = fs::remove_file(&self.path);
        if let Some(folder) = self.path.parent() {
            let _ = fs::remove_dir(folder);
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
    fn the_folder_is_owner_only_and_goes_with_the_listener() {
        let base = tempfile::tempdir().unwrap();
        let listener = Listener::open(base.path()).unwrap();
        let folder = listener.path().parent().unwrap().to_owned();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        assert!(Socket::connect(listener.path()).is_ok());
        drop(listener);
        assert!(!folder.exists());
        let long = base.path().join("x".repeat(100));
        assert_eq!(
            Listener::open(&long).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
    }

    #[test]
    fn the_kernel_is_the_same_each_time() {
        assert_eq!(kernel_id().unwrap(), kernel_id().unwrap());
    }
}
