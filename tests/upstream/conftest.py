"""Certificates for the tests of TLS, made once."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.upstream.dialling import Certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make certificates")
    folder = tmp_path_factory.mktemp("certificates")

    def make(name: str, *arguments: str) -> tuple[str, str]:
        pem, key = str(folder / f"{name}.pem"), str(folder / f"{name}.key")
        subprocess.run(
            [
                *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
                *("-days", "2", "-subj", f"/CN={name}", "-keyout", key, "-out", pem, *arguments),
            ],
            check=True,
            capture_output=True,
        )
        return pem, key

    ca, ca_key = make("ca", "-addext", "keyUsage=keyCertSign")
    signed = ["-CA", ca, "-CAkey", ca_key, "-addext", "basicConstraints=critical,CA:FALSE"]
    server, server_key = make("server", *signed, "-addext", "subjectAltName=IP:127.0.0.1,DNS:upstream.test")
    client, client_key = make("client", *signed)
    return Certificates(ca, server, server_key, client, client_key, make("stranger")[0])
