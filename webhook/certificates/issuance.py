"""Authorities and the certificates that they sign: ECDSA P-256, valid from ten minutes ago, since clocks differ."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE: Final = timedelta(days=3650)
LEAF_LIFE: Final = timedelta(days=90)
SKEW: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(compare=False)  # two objects of one key are not equal

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def __repr__(self) -> str:
        """Return a text without the key."""
        return f"KeyPair({self.certificate.serial_number:x})"


def read_pair(certificate: bytes, key: bytes) -> KeyPair:
    """Return the pair in PEM. Raises ValueError if it is no certificate with its EC key."""
    try:
        read = KeyPair(certificate=x509.load_pem_x509_certificate(certificate), key=_ec_key(key))
    except TypeError as error:  # a key with a password
        raise ValueError("the key has a password") from error
    if read.certificate.public_key() != read.key.public_key():
        raise ValueError("the key is another certificate's")
    return read


def new_authority(now: datetime) -> KeyPair:
    key = ec.generate_private_key(ec.SECP256R1())
    # The serial number in the name tells two authorities apart that a bundle holds at the same time.
    serial = x509.random_serial_number()
    name = _name(f"model-api-webhook CA {serial:x}"[:64])
    builder = (
        _certificate(name, name, key, now, AUTHORITY_LIFE)
        .serial_number(serial)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return KeyPair(certificate=builder.sign(key, hashes.SHA256()), key=key)


def new_leaf(authority: KeyPair, host_names: Sequence[str], now: datetime) -> KeyPair:
    """Return a server certificate that `authority` signs; the first host name is its common name."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _certificate(_name(host_names[0][:64]), authority.certificate.subject, key, now, LEAF_LIFE)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in host_names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    return KeyPair(certificate=builder.sign(authority.key, hashes.SHA256()), key=key)


def is_issued_by(leaf: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def host_names_of(leaf: x509.Certificate) -> frozenset[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(names.get_values_for_type(x509.DNSName))


def _ec_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is no EC key")  # noqa: TRY004  what is wrong is a value of the Secret
    return key


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    return builder.not_valid_before(now - SKEW).not_valid_after(now + life)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        key_cert_sign=certificates,
        crl_sign=certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
