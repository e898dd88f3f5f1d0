//! A key pair of each kind that belong together, and their file.
//!
//! ```text
//! magic       4    "LMKY"
//! version     u8   1
//! protection  u8   0 none (the file's mode guards it), 1 argon2id and AES-256-GCM
//! protected:  memory u32 KiB, passes u32, lanes u32, salt 16, nonce 12    (all of it authenticated)
//! body        FALCON-1024 secret 2369, then TLS key (PKCS#8) with u32 length; encrypted, then a 16-byte tag
//! ```

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::codec::{Reader, put_block};
use super::error::IdentityError;
use super::falcon::{FALCON_SECRET_BYTES, FalconKey};
use super::folder::Folder;
use super::random;
use super::tls_certificate::TlsKey;

const MAGIC: &[u8; 4] = b"LMKY";
const VERSION: u8 = 1;
const PLAIN: u8 = 0;
const ENCRYPTED: u8 = 1;
const OBJECT: &str = "key file";
const MAX_KEY_FILE_BYTES: usize = 8_192;
const MAX_PKCS8_BYTES: usize = 1_024;
const SALT_BYTES: usize = 16;
/// Where the body of an encrypted file starts.
const ENCRYPTED_HEADER_BYTES: usize = 6 + 12 + SALT_BYTES + NONCE_LEN;

/// RFC 9106 §4, second recommendation, in one lane: 64 MiB, three passes. About 0.2 s.
const MEMORY_KIB: u32 = 64 * 1_024;
const PASSES: u32 = 3;
const LANES: u32 = 1;
/// What a file may ask for: checked before the memory is taken.
const MAX_MEMORY_KIB: u32 = 1_024 * 1_024;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 16;

/// What a passphrase is and is not: at least one byte, at most a kilobyte.
const MAX_PASSPHRASE_BYTES: usize = 1_024;

/// A passphrase, wiped when dropped.
pub type Passphrase = Zeroizing<String>;

/// The two secret keys of a root, a network or a node.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) falcon: FalconKey,
    pub(super) tls: TlsKey,
}

impl Keys {
    pub(super) fn generate() -> Result<Self, IdentityError> {
        Ok(Self {
            falcon: FalconKey::generate(),
            tls: TlsKey::generate()?,
        })
    }

    /// Writes both to one file, encrypted when there is a passphrase.
    pub(super) fn store(
        &self,
        folder: &Folder,
        name: &str,
        passphrase: Option<&Passphrase>,
    ) -> Result<(), IdentityError> {
        let mut body = Zeroizing::new(Vec::with_capacity(MAX_KEY_FILE_BYTES));
        body.extend_from_slice(self.falcon.secret());
        put_block(&mut body, &self.tls.pkcs8());
        let mut file = Zeroizing::new(Vec::with_capacity(MAX_KEY_FILE_BYTES));
        file.extend_from_slice(MAGIC);
        file.push(VERSION);
        let Some(passphrase) = passphrase else {
            file.push(PLAIN);
            file.extend_from_slice(&body);
            return folder.write(name, &file);
        };
        check_passphrase(passphrase)?;
        file.push(ENCRYPTED);
        for cost in [MEMORY_KIB, PASSES, LANES] {
            file.extend_from_slice(&cost.to_le_bytes());
        }
        let salt: [u8; SALT_BYTES] = random::bytes();
        let nonce: [u8; NONCE_LEN] = random::bytes();
        file.extend_from_slice(&salt);
        file.extend_from_slice(&nonce);
        let key = derive(passphrase, &salt, MEMORY_KIB, PASSES, LANES)?;
        let tag = key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(&file[..]),
                &mut body,
            )
            .map_err(|_| tls("the key file could not be encrypted"))?;
        file.extend_from_slice(&body);
        file.extend_from_slice(tag.as_ref());
        folder.write(name, &file)
    }

    /// Reads both.
    pub(super) fn load(
        folder: &Folder,
        name: &str,
        passphrase: Option<&Passphrase>,
    ) -> Result<Self, IdentityError> {
        let file = Zeroizing::new(folder.read(name, MAX_KEY_FILE_BYTES)?);
        let mut reader = Reader::new(OBJECT, &file, MAX_KEY_FILE_BYTES)?;
        if reader.array()? != MAGIC {
            return Err(reader.malformed("it does not start as one"));
        }
        let (version, protection) = (reader.u8()?, reader.u8()?);
        match (version, protection) {
            (VERSION, PLAIN) => Self::decode(reader.bytes(reader.remaining())?),
            (VERSION, ENCRYPTED) => {
                let path = folder.path(name);
                let passphrase = passphrase.ok_or_else(|| IdentityError::Passphrase {
                    path: path.clone(),
                    given: false,
                })?;
                let body = open(&file, passphrase)?;
                let body = body.ok_or(IdentityError::Passphrase { path, given: true })?;
                Self::decode(&body)
            }
            _ => Err(IdentityError::Unsupported {
                object: OBJECT,
                version,
                algorithm: protection,
            }),
        }
    }

    fn decode(body: &[u8]) -> Result<Self, IdentityError> {
        let mut reader = Reader::new(OBJECT, body, MAX_KEY_FILE_BYTES)?;
        let falcon = FalconKey::from_secret(reader.bytes(FALCON_SECRET_BYTES)?)?;
        let tls = TlsKey::from_pkcs8(reader.block(MAX_PKCS8_BYTES)?)?;
        reader.finish()?;
        Ok(Self { falcon, tls })
    }
}

/// The body of an encrypted file, or `None` when the passphrase is not the one.
fn open(file: &[u8], passphrase: &Passphrase) -> Result<Option<Zeroizing<Vec<u8>>>, IdentityError> {
    check_passphrase(passphrase)?;
    let mut reader = Reader::new(OBJECT, file, MAX_KEY_FILE_BYTES)?;
    let header = reader.bytes(ENCRYPTED_HEADER_BYTES)?;
    let mut body = Zeroizing::new(reader.bytes(reader.remaining())?.to_vec());
    let mut fields = Reader::new(OBJECT, &header[6..], ENCRYPTED_HEADER_BYTES)?;
    let (memory, passes, lanes) = (fields.u32()?, fields.u32()?, fields.u32()?);
    if memory > MAX_MEMORY_KIB || passes > MAX_PASSES || lanes > MAX_LANES {
        return Err(IdentityError::TooLarge {
            object: OBJECT,
            limit: MAX_MEMORY_KIB as usize,
        });
    }
    let key = derive(
        passphrase,
        fields.array::<SALT_BYTES>()?,
        memory,
        passes,
        lanes,
    )?;
    let nonce = Nonce::assume_unique_for_key(*fields.array()?);
    let Ok(length) = key
        .open_in_place(nonce, Aad::from(header), &mut body)
        .map(|plain| plain.len())
    else {
        return Ok(None);
    };
    body.truncate(length);
    Ok(Some(body))
}

fn derive(
    passphrase: &Passphrase,
    salt: &[u8; SALT_BYTES],
    memory: u32,
    passes: u32,
    lanes: u32,
) -> Result<LessSafeKey, IdentityError> {
    let params =
        Params::new(memory, passes, lanes, None).map_err(|_| IdentityError::Malformed {
            object: OBJECT,
            reason: "its argon2id costs are impossible",
        })?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, &mut key[..])
        .map_err(|error| tls(&format!("argon2id: {error}")))?;
    UnboundKey::new(&AES_256_GCM, &key[..])
        .map(LessSafeKey::new)
        .map_err(|_| tls("AES-256-GCM is not available"))
}

fn check_passphrase(passphrase: &Passphrase) -> Result<(), IdentityError> {
    if (1..=MAX_PASSPHRASE_BYTES).contains(&passphrase.len()) {
        return Ok(());
    }
    Err(IdentityError::InvalidField {
        field: "passphrase",
        reason: "has 1 to 1,024 bytes",
        limit: Some(MAX_PASSPHRASE_BYTES as u64),
    })
}

fn tls(reason: &str) -> IdentityError {
    IdentityError::Tls {
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_open_with_their_passphrase_alone() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open_or_create(&place.path().join("identity")).unwrap();
        let keys = Keys::generate().unwrap();
        keys.store(&folder, "plain.key", None).unwrap();
        let read = Keys::load(&folder, "plain.key", None).unwrap();
        assert_eq!(read.falcon.public(), keys.falcon.public());
        assert_eq!(read.tls.spki(), keys.tls.spki());

        let right = Passphrase::new("correct horse".to_owned());
        keys.store(&folder, "node.key", Some(&right)).unwrap();
        let read = Keys::load(&folder, "node.key", Some(&right)).unwrap();
        assert_eq!(read.falcon.public(), keys.falcon.public());
        let refused = |passphrase: Option<&Passphrase>| {
            Keys::load(&folder, "node.key", passphrase).unwrap_err()
        };
        assert!(matches!(
            refused(None),
            IdentityError::Passphrase { given: false, .. }
        ));
        let wrong = Passphrase::new("correct house".to_owned());
        assert!(matches!(
            refused(Some(&wrong)),
            IdentityError::Passphrase { given: true, .. }
        ));

        // The secret is not in the file, and no bit of the file can be changed unnoticed.
        let mut file = folder.read("node.key", MAX_KEY_FILE_BYTES).unwrap();
        let secret = &keys.falcon.secret()[100..132];
        assert!(!file.windows(32).any(|window| window == secret));
        let last = file.len() - 1;
        file[last] ^= 1;
        folder.write("node.key", &file).unwrap();
        assert!(matches!(
            refused(Some(&right)),
            IdentityError::Passphrase { given: true, .. }
        ));
        // A file that asks for more memory than allowed is refused before any is taken.
        file[6..10].copy_from_slice(&u32::MAX.to_le_bytes());
        folder.write("node.key", &file).unwrap();
        assert_eq!(refused(Some(&right)).code(), "too-large");
    }
}
