//! What the command line and other programs ask of an identity, JSON in and JSON out.
//!
//! Each command opens the identity folder, does one thing and closes it; a process that runs on the same folder follows
//! within a second. The shapes are those of `ts/binding/contract-identity.ts`.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::administration::Rotation;
use super::certificate::Certificate;
use super::error::IdentityError;
use super::exchange;
use super::keys::Passphrase;
use super::membership::Joining;
use super::node_identity::{IdentityOptions, NodeIdentity};
use super::revocation::{Revoked, hex};

/// Longest command, bytes.
pub const MAX_COMMAND_BYTES: usize = 16 * 1_024;
/// Longest that joining may wait, milliseconds.
pub const MAX_TIMEOUT_MS: u64 = 300_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    data: PathBuf,
    #[serde(default)]
    passphrase: Option<String>,
    #[serde(flatten)]
    command: Command,
}

#[derive(Deserialize)]
#[serde(
    tag = "command",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
enum Command {
    /// Makes a network and this node in it.
    Init { network: String, name: String },
    /// Opens a one-time token.
    Issue { name: String, ttl_seconds: u64 },
    /// Revokes by id or name.
    Revoke { kind: RevokedKind, who: String },
    /// Replaces a key.
    Rotate { key: RotatedKey },
    /// Tells what there is.
    Show,
    /// Joins with a token.
    Join {
        name: String,
        address: String,
        token: String,
        timeout_ms: u64,
    },
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RevokedKind {
    Node,
    Certificate,
    Issuer,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RotatedKey {
    Network,
    PrepareRoot,
    ActivateRoot,
    RetireRoots,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CertificateInfo {
    name: String,
    serial: String,
    key: String,
    not_before: u64,
    not_after: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RootInfo {
    fingerprint: String,
    not_after: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RevokedInfo {
    kind: &'static str,
    id: String,
    at: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IssuedInfo {
    node_id: String,
    name: String,
    not_after: u64,
    revoked: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AuthorityInfo {
    open_tokens: usize,
    issued: Vec<IssuedInfo>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IdentityInfo {
    node_id: String,
    network: String,
    network_name: String,
    certificate: CertificateInfo,
    issuer: CertificateInfo,
    issuer_address: Option<String>,
    bundle_sequence: u64,
    roots: Vec<RootInfo>,
    revocation_sequence: u64,
    revoked: Vec<RevokedInfo>,
    authority: Option<AuthorityInfo>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenInfo {
    token: String,
    fingerprint: String,
    expires: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RevocationInfo {
    sequence: u64,
    revoked: Vec<String>,
}

/// Runs one command. Blocks: for a moment, for joining until its timeout.
///
/// # Errors
/// The command is malformed, or what it does is refused; then nothing has changed.
pub fn run(command: &str) -> Result<String, IdentityError> {
    if command.len() > MAX_COMMAND_BYTES {
        return Err(IdentityError::TooLarge {
            object: "command",
            limit: MAX_COMMAND_BYTES,
        });
    }
    let request: Request = serde_json::from_str(command).map_err(|_| IdentityError::Malformed {
        object: "command",
        reason: "it lacks a field of its kind, or is of no known kind",
    })?;
    let mut options = IdentityOptions::new(request.data);
    options.passphrase = request.passphrase.map(Passphrase::new);
    match request.command {
        Command::Init { network, name } => init(options, &network, name),
        Command::Issue { name, ttl_seconds } => issue(options, &name, ttl_seconds),
        Command::Revoke { kind, who } => revoke(options, kind, &who),
        Command::Rotate { key } => rotate(options, key),
        Command::Show => NodeIdentity::open(options).and_then(|identity| show(&identity)),
        Command::Join {
            name,
            address,
            token,
            timeout_ms,
        } => join(options, name, &address, &token, timeout_ms),
    }
}

fn init(
    mut options: IdentityOptions,
    network: &str,
    name: String,
) -> Result<String, IdentityError> {
    let data = options.data.clone();
    if NodeIdentity::is_stored(&data) {
        return Err(IdentityError::Exists {
            path: data.join("identity"),
        });
    }
    options.name = name;
    show(&*NodeIdentity::open_or_create(options, network)?)
}

fn issue(options: IdentityOptions, name: &str, seconds: u64) -> Result<String, IdentityError> {
    let expires = options.clock.now().saturating_add(seconds);
    let token = NodeIdentity::open(options)?.invite(name, seconds)?;
    json(&TokenInfo {
        token: token.to_text().to_string(),
        fingerprint: token.fingerprint().to_string(),
        expires,
    })
}

fn revoke(options: IdentityOptions, kind: RevokedKind, who: &str) -> Result<String, IdentityError> {
    let identity = NodeIdentity::open(options)?;
    let named = |reason| IdentityError::InvalidField {
        field: "who",
        reason,
        limit: None,
    };
    let targets = match kind {
        RevokedKind::Node => identity.find(who)?.into_iter().map(Revoked::Node).collect(),
        RevokedKind::Issuer => {
            vec![Revoked::Issuer(who.parse().map_err(|_| {
                named("is the key id of an issuer, 64 hexadecimal digits")
            })?)]
        }
        RevokedKind::Certificate => vec![Revoked::Certificate(serial(who).ok_or(named(
            "is the serial of a certificate, 32 hexadecimal digits",
        ))?)],
    };
    let [target] = targets[..] else {
        return Err(named(if targets.is_empty() {
            "names no node that was issued a certificate here"
        } else {
            "names several nodes: give the id of one, as `linkmesh ca show` prints it"
        }));
    };
    if target == Revoked::Node(identity.node_id()) {
        return Err(named("is this node itself, which holds the network's keys"));
    }
    let list = identity.revoke(target)?;
    json(&RevocationInfo {
        sequence: list.sequence(),
        revoked: list.entries().iter().map(|(entry, _)| entry.id()).collect(),
    })
}

fn serial(text: &str) -> Option<[u8; 16]> {
    let padded = format!("{text:0<64}");
    let bytes = super::id::from_hex(&padded)?;
    (text.len() == 32).then(|| *bytes.first_chunk().expect("32 bytes hold 16"))
}

fn rotate(options: IdentityOptions, key: RotatedKey) -> Result<String, IdentityError> {
    let identity = NodeIdentity::open(options)?;
    identity.rotate(match key {
        RotatedKey::Network => Rotation::Network,
        RotatedKey::PrepareRoot => Rotation::PrepareRoot,
        RotatedKey::ActivateRoot => Rotation::ActivateRoot,
        RotatedKey::RetireRoots => Rotation::RetireRoots,
    })?;
    show(&identity)
}

fn join(
    mut options: IdentityOptions,
    name: String,
    address: &str,
    token: &str,
    timeout_ms: u64,
) -> Result<String, IdentityError> {
    if !(1..=MAX_TIMEOUT_MS).contains(&timeout_ms) {
        return Err(IdentityError::InvalidField {
            field: "timeoutMs",
            reason: "is from 1 to 300,000",
            limit: Some(MAX_TIMEOUT_MS),
        });
    }
    options.name = name;
    let joining = Joining::new(token, options)?;
    show(&*exchange::join(
        address,
        joining,
        Duration::from_millis(timeout_ms),
    )?)
}

fn certificate(certificate: &Certificate) -> CertificateInfo {
    let validity = certificate.validity();
    CertificateInfo {
        name: certificate.name().to_owned(),
        serial: hex(certificate.serial()),
        key: certificate.falcon().id().to_string(),
        not_before: validity.not_before,
        not_after: validity.not_after,
    }
}

fn show(identity: &NodeIdentity) -> Result<String, IdentityError> {
    let bundle = identity.trust_bundle();
    let list = identity.revocation_list();
    let authority = if identity.issues_certificates() {
        let issued = identity.issued()?.into_iter().map(|node| IssuedInfo {
            node_id: node.certificate.node_id().to_string(),
            name: node.certificate.name().to_owned(),
            not_after: node.certificate.validity().not_after,
            revoked: node.revoked,
        });
        Some(AuthorityInfo {
            open_tokens: identity.upkeep()?.open_tokens,
            issued: issued.collect(),
        })
    } else {
        None
    };
    json(&IdentityInfo {
        node_id: identity.node_id().to_string(),
        network: identity.network().to_string(),
        network_name: identity.network_name(),
        certificate: certificate(&identity.certificate()),
        issuer: certificate(&identity.network_certificate()),
        issuer_address: identity.issuer_address(),
        bundle_sequence: bundle.sequence(),
        roots: bundle
            .roots()
            .iter()
            .map(|root| RootInfo {
                fingerprint: root.certificate.fingerprint().to_string(),
                not_after: root.certificate.validity().not_after,
            })
            .collect(),
        revocation_sequence: list.sequence(),
        revoked: list
            .entries()
            .iter()
            .map(|(entry, at)| RevokedInfo {
                kind: entry.kind(),
                id: entry.id(),
                at: *at,
            })
            .collect(),
        authority,
    })
}

fn json(value: &impl Serialize) -> Result<String, IdentityError> {
    serde_json::to_string(value).map_err(|error| IdentityError::Tls {
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(data: &std::path::Path, rest: &str) -> Result<serde_json::Value, IdentityError> {
        let command = format!("{{\"data\":{:?},{rest}}}", data.to_str().unwrap());
        run(&command).map(|text| serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn a_network_is_made_shown_rotated_and_keeps_its_name() {
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        let code = |result: Result<_, IdentityError>| {
            result.map(|_: serde_json::Value| ()).unwrap_err().code()
        };
        assert_eq!(code(ask(&data, r#""command":"show""#)), "not-found");
        let init = r#""command":"init","network":"shop","name":"ca-1""#;
        let made = ask(&data, init).unwrap();
        assert_eq!(made["networkName"], "shop");
        assert_eq!(made["certificate"]["name"], "ca-1");
        assert_eq!(made["authority"]["issued"][0]["nodeId"], made["nodeId"]);
        assert_eq!(code(ask(&data, init)), "exists");

        let token = ask(&data, r#""command":"issue","name":"db","ttlSeconds":60"#).unwrap();
        assert_eq!(token["token"].as_str().unwrap().len(), 141);
        assert_eq!(token["fingerprint"], made["roots"][0]["fingerprint"]);
        assert_eq!(
            ask(&data, r#""command":"show""#).unwrap()["authority"]["openTokens"],
            1
        );

        let serial = "ab".repeat(16);
        let revoke = format!(r#""command":"revoke","kind":"certificate","who":"{serial}""#);
        assert_eq!(ask(&data, &revoke).unwrap()["revoked"][0], serial.as_str());
        for (who, kind) in [
            ("ca-1", "node"),
            ("nobody", "node"),
            ("zz", "certificate"),
            ("", "issuer"),
        ] {
            let revoke = format!(r#""command":"revoke","kind":"{kind}","who":"{who}""#);
            assert_eq!(code(ask(&data, &revoke)), "invalid-field", "{who}");
        }

        let rotated = ask(&data, r#""command":"rotate","key":"prepare-root""#).unwrap();
        assert_eq!(rotated["roots"].as_array().unwrap().len(), 2);
        assert_eq!(rotated["issuer"]["key"], made["issuer"]["key"]);
        assert_eq!(
            code(ask(&data, r#""command":"rotate","key":"prepare-root""#)),
            "exists"
        );
        ask(&data, r#""command":"rotate","key":"activate-root""#).unwrap();
        let retired = ask(&data, r#""command":"rotate","key":"retire-roots""#).unwrap();
        assert_eq!(retired["roots"].as_array().unwrap().len(), 1);
        assert_eq!(retired["nodeId"], made["nodeId"]);
        assert_eq!(
            (&retired["networkName"], &retired["network"]),
            (&made["networkName"], &made["network"])
        );
        assert_eq!(retired["revocationSequence"], 2);
    }

    #[test]
    fn what_is_no_command_is_refused() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"data":"x","command":"delete"}"#,
            r#"{"data":"x","command":"issue"}"#,
        ] {
            assert_eq!(run(text).unwrap_err().code(), "malformed", "{text}");
        }
        assert_eq!(
            run(&" ".repeat(MAX_COMMAND_BYTES + 1)).unwrap_err().code(),
            "too-large"
        );
    }
}
