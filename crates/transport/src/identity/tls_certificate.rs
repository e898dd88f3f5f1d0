//! The X.509 certificates that TLS sees: ECDSA P-256, issued along the same hierarchy as the FALCON ones.
//!
//! They authenticate the handshake; the proof on the control stream makes it post-quantum. Each names its counterpart
//! in a URI, so the two hierarchies are tied in both directions.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
    SubjectPublicKeyInfo, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::certificate::Validity;
use super::error::IdentityError;
use super::id::{KeyId, NetworkId, from_hex};
use crate::core::{NodeId, SERVER_NAME};

/// The name in the certificate that a joiner shows before it has one.
pub(super) const JOINER_NAME: &str = "join.linkmesh.internal";
/// Largest X.509 certificate that is looked at, bytes. Ours take about 600.
pub const MAX_TLS_CERTIFICATE_BYTES: usize = 2_048;

fn tls(error: impl std::fmt::Display) -> IdentityError {
    IdentityError::Tls {
        reason: error.to_string(),
    }
}

/// A P-256 key pair.
#[derive(Debug)]
pub(super) struct TlsKey(KeyPair);

impl TlsKey {
    pub(super) fn generate() -> Result<Self, IdentityError> {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
            .map(Self)
            .map_err(tls)
    }

    pub(super) fn from_pkcs8(der: &[u8]) -> Result<Self, IdentityError> {
        KeyPair::try_from(&PrivatePkcs8KeyDer::from(der))
            .map(Self)
            .map_err(tls)
    }

    /// PKCS#8, DER.
    pub(super) fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.serialize_der())
    }

    /// As rustls takes it.
    pub(super) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.serialize_der()).into()
    }

    pub(super) fn spki(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }
}

fn params(common_name: String, validity: Validity, names: Vec<SanType>) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, common_name);
    params.distinguished_name = subject;
    // Years past 9999 have no X.509 form; no validity here reaches there.
    let at = |seconds: u64| {
        date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds.min(253_402_300_799))
    };
    params.not_before = at(validity.not_before);
    params.not_after = at(validity.not_after);
    params.subject_alt_names = names;
    params
}

fn uri(text: String) -> Result<SanType, IdentityError> {
    text.try_into().map(SanType::URI).map_err(tls)
}

fn dns(name: &str) -> Result<SanType, IdentityError> {
    name.try_into().map(SanType::DnsName).map_err(tls)
}

/// A root signs itself and carries its FALCON key's id, so that its fingerprint can be computed from it.
pub(super) fn root(
    key: &TlsKey,
    falcon: &KeyId,
    validity: Validity,
) -> Result<CertificateDer<'static>, IdentityError> {
    let mut params = params(
        format!("linkmesh root {}", &falcon.to_string()[..16]),
        validity,
        vec![uri(format!("linkmesh:root/{falcon}"))?],
    );
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let certificate = params.self_signed(&key.0).map_err(tls)?;
    Ok(certificate.der().clone())
}

/// A network's certificate, signed by a root.
pub(super) fn network(
    spki: &[u8],
    falcon: &KeyId,
    validity: Validity,
    issuer: (&CertificateDer<'_>, &TlsKey),
) -> Result<CertificateDer<'static>, IdentityError> {
    let mut params = params(
        format!("linkmesh network {}", &falcon.to_string()[..16]),
        validity,
        vec![uri(format!("linkmesh:network/{falcon}"))?],
    );
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    signed(&params, spki, issuer)
}

/// A node's certificate, signed by a network key. Good for both ends of a connection.
pub(super) fn node(
    spki: &[u8],
    node: &NodeId,
    network: &NetworkId,
    validity: Validity,
    issuer: (&CertificateDer<'_>, &TlsKey),
) -> Result<CertificateDer<'static>, IdentityError> {
    let mut params = params(
        format!("linkmesh node {}", &node.to_string()[..16]),
        validity,
        vec![
            dns(SERVER_NAME)?,
            uri(format!("linkmesh:node/{network}/{node}"))?,
        ],
    );
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    signed(&params, spki, issuer)
}

/// What a joiner shows: its own key, signed by nobody else, under a name that opens nothing but the join exchange.
pub(super) fn joiner(
    key: &TlsKey,
    validity: Validity,
) -> Result<CertificateDer<'static>, IdentityError> {
    let mut params = params(
        "linkmesh joiner".to_owned(),
        validity,
        vec![dns(JOINER_NAME)?],
    );
    params.is_ca = IsCa::ExplicitNoCa;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.self_signed(&key.0).map_err(tls)?;
    Ok(certificate.der().clone())
}

fn signed(
    params: &CertificateParams,
    spki: &[u8],
    (certificate, key): (&CertificateDer<'_>, &TlsKey),
) -> Result<CertificateDer<'static>, IdentityError> {
    let subject = SubjectPublicKeyInfo::from_der(spki).map_err(tls)?;
    let issuer = Issuer::from_ca_cert_der(certificate, &key.0).map_err(tls)?;
    let certificate = params.signed_by(&subject, &issuer).map_err(tls)?;
    Ok(certificate.der().clone())
}

/// What one of our X.509 certificates says about its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TlsName {
    /// A root with this FALCON key.
    Root(KeyId),
    /// A network key with this FALCON key.
    Network(KeyId),
    /// A node of a network.
    Node(NetworkId, NodeId),
    /// A joiner without a certificate yet.
    Joiner,
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, IdentityError> {
    if der.len() > MAX_TLS_CERTIFICATE_BYTES {
        return Err(IdentityError::TooLarge {
            object: "TLS certificate",
            limit: MAX_TLS_CERTIFICATE_BYTES,
        });
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(IdentityError::Malformed {
            object: "TLS certificate",
            reason: "it is no X.509 certificate",
        }),
    }
}

/// The public key inside, SPKI (DER).
pub(super) fn spki_of(der: &[u8]) -> Result<Vec<u8>, IdentityError> {
    Ok(parse(der)?.public_key().raw.to_vec())
}

/// Whom the certificate names, by exactly one of our names.
pub(super) fn name_of(der: &[u8]) -> Result<TlsName, IdentityError> {
    let malformed = IdentityError::Malformed {
        object: "TLS certificate",
        reason: "it does not name one node, network, root or joiner",
    };
    let certificate = parse(der)?;
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Err(malformed);
    };
    let mut found = None;
    for name in &names.value.general_names {
        let name = match name {
            GeneralName::URI(text) => parse_uri(text).ok_or_else(|| malformed.clone())?,
            GeneralName::DNSName(name) if *name == JOINER_NAME => TlsName::Joiner,
            GeneralName::DNSName(name) if *name == SERVER_NAME => continue,
            _ => return Err(malformed),
        };
        if found.replace(name).is_some() {
            return Err(malformed);
        }
    }
    found.ok_or(malformed)
}

fn parse_uri(text: &str) -> Option<TlsName> {
    let (kind, rest) = text.strip_prefix("linkmesh:")?.split_once('/')?;
    match kind {
        "root" => from_hex(rest).map(|id| TlsName::Root(KeyId(id))),
        "network" => from_hex(rest).map(|id| TlsName::Network(KeyId(id))),
        "node" => {
            let (network, node) = rest.split_once('/')?;
            Some(TlsName::Node(
                NetworkId(from_hex(network)?),
                NodeId(from_hex(node)?),
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_certificate_names_its_holder() {
        let validity = Validity::starting(1_700_000_000, 3_600);
        let (key, other) = (TlsKey::generate().unwrap(), TlsKey::generate().unwrap());
        let falcon = KeyId([3; 32]);
        let ca = root(&key, &falcon, validity).unwrap();
        assert_eq!(name_of(&ca).unwrap(), TlsName::Root(falcon));
        assert_eq!(spki_of(&ca).unwrap(), key.spki());
        let issuer = (&ca, &key);
        let (network_id, node_id) = (NetworkId([1; 32]), NodeId([2; 32]));
        let leaf = node(&other.spki(), &node_id, &network_id, validity, issuer).unwrap();
        assert_eq!(name_of(&leaf).unwrap(), TlsName::Node(network_id, node_id));
        assert_eq!(spki_of(&leaf).unwrap(), other.spki());
        let joiner = joiner(&other, validity).unwrap();
        assert_eq!(name_of(&joiner).unwrap(), TlsName::Joiner);
        let again = TlsKey::from_pkcs8(&other.pkcs8()).unwrap();
        assert_eq!(again.spki(), other.spki());
    }
}
