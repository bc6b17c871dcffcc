"""The registries of npm, PyPI and crates.io on one port, over TLS: as much of their documented protocols as installing asks
for, and six small packages that need each other.

usage: registry.py CERT KEY JOURNAL; prints its port. One line a request goes to the journal: METHOD https://HOST/PATH STATUS.
"""

import base64
import gzip
import hashlib
import http.server
import io
import json
import ssl
import sys
import tarfile
import zipfile

# Archives are the same octets every time.
MADE_AT = 1_000_000_000


def tgz(files):
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(text.encode()), MADE_AT, 0o644
            archive.addfile(info, io.BytesIO(text.encode()))
    return gzip.compress(tar.getvalue(), mtime=0)


def npm_package(name, version, dependencies, code):
    """github.com/npm/registry, docs/responses/package-metadata.md: one version of a packument, and its tarball."""
    manifest = {"name": name, "version": version, "main": "index.js", "dependencies": dependencies}
    tarball = tgz({"package/package.json": json.dumps(manifest), "package/index.js": code})
    file = f"/{name}/-/{name}-{version}.tgz"
    digest = base64.b64encode(hashlib.sha512(tarball).digest()).decode()
    dist = {"tarball": f"https://registry.npmjs.org{file}", "integrity": f"sha512-{digest}"}
    dist["shasum"] = hashlib.sha1(tarball).hexdigest()
    return name, manifest | {"dist": dist}, file, tarball


def npm():
    packages = [
        npm_package("valet-fill", "1.0.0", {}, "module.exports = (c, n) => 'old'"),
        npm_package("valet-fill", "1.1.0", {}, "module.exports = (c, n) => c.repeat(n)"),
        npm_package("valet-fill", "2.0.0", {}, "module.exports = () => { throw new Error('too new') }"),
        npm_package(
            "valet-pad",
            "2.0.0",
            {"valet-fill": "^1.0.0"},
            "module.exports = (s, n) => require('valet-fill')('0', n - s.length) + s",
        ),
    ]
    documents, answers = {}, {}
    for name, manifest, file, tarball in packages:
        document = documents.setdefault(name, {"name": name, "versions": {}, "dist-tags": {}})
        document["versions"][manifest["version"]] = manifest
        document["dist-tags"]["latest"] = manifest["version"]
        answers["GET", file] = ("application/octet-stream", tarball)
    for name, document in documents.items():
        answers["GET", f"/{name}"] = ("application/json", json.dumps(document).encode())
    # `npm install` asks for advisories afterwards; there are none.
    answers["POST", "/-/npm/v1/security/advisories/bulk"] = ("application/json", b"{}")
    return answers


def wheel(name, version, requires, code):
    """packaging.python.org/en/latest/specifications/binary-distribution-format."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {one}\n" for one in requires)
    kind = "Wheel-Version: 1.0\nGenerator: registry\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = {f"{name}.py": code, f"{info}/METADATA": metadata, f"{info}/WHEEL": kind}
    rows = [f"{path},," for path in [*files, f"{info}/RECORD"]]
    files[f"{info}/RECORD"] = "\n".join(rows) + "\n"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return name, f"{name}-{version}-py3-none-any.whl", out.getvalue()


def pypi():
    """packaging.python.org/en/latest/specifications/simple-repository-api, in JSON."""
    wheels = [
        wheel("valet_letters", "1.0", [], "ALL = 'old'"),
        wheel("valet_letters", "1.4", [], "ALL = 'abc'"),
        wheel("valet_words", "2.1", ["valet-letters>=1,<2"], "from valet_letters import ALL\nWORD = ALL[::-1]"),
    ]
    pages, index, files = {}, {}, {}
    for name, file, data in wheels:
        hashes = {"sha256": hashlib.sha256(data).hexdigest()}
        url = f"https://files.pythonhosted.org/packages/{file}"
        pages.setdefault(name.replace("_", "-"), []).append({"filename": file, "url": url, "hashes": hashes})
        files["GET", f"/packages/{file}"] = ("application/octet-stream", data)
    for name, listed in pages.items():
        page = {"meta": {"api-version": "1.0"}, "name": name, "files": listed}
        index["GET", f"/simple/{name}/"] = ("application/vnd.pypi.simple.v1+json", json.dumps(page).encode())
    return index, files


def crates():
    """doc.rust-lang.org/cargo/reference/registry-index.html, the sparse protocol."""
    config = {"dl": "https://static.crates.io/crates", "api": "https://crates.io"}
    index, files = {("GET", "/config.json"): ("application/json", json.dumps(config).encode())}, {}
    listed = [
        ("valet-one", "1.0.2", [], "pub const ONE: u32 = 1;\n"),
        ("valet-sum", "0.3.1", ["valet-one"], "pub fn next(n: u32) -> u32 { n + valet_one::ONE }\n"),
    ]
    for name, version, needs, code in listed:
        manifest = f'[package]\nname = "{name}"\nversion = "{version}"\nedition = "2021"\n[dependencies]\n'
        manifest += "".join(f'{one} = "1"\n' for one in needs)
        top = f"{name}-{version}"
        crate = tgz({f"{top}/Cargo.toml": manifest, f"{top}/src/lib.rs": code})
        dependency = {"req": "^1", "features": [], "optional": False, "default_features": True, "target": None}
        deps = [{"name": one, "kind": "normal"} | dependency for one in needs]
        line = {"name": name, "vers": version, "deps": deps, "features": {}, "yanked": False}
        line["cksum"] = hashlib.sha256(crate).hexdigest()
        path = f"/{name[:2]}/{name[2:4]}/{name}"
        index["GET", path] = ("text/plain", json.dumps(line).encode() + b"\n")
        files["GET", f"/crates/{name}/{version}/download"] = ("application/gzip", crate)
    return index, files


HOSTS = {"registry.npmjs.org": npm()}
HOSTS["pypi.org"], HOSTS["files.pythonhosted.org"] = pypi()
HOSTS["index.crates.io"], HOSTS["static.crates.io"] = crates()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        host = self.headers.get("host", "").removesuffix(":443")
        found = HOSTS.get(host, {}).get((self.command, self.path.split("?")[0]))
        kind, data = found or ("text/plain", b"there is no such thing here\n")
        # In one write, since each connection has a thread of its own; and before the client can know.
        self.server.journal.write(f"{self.command} https://{host}{self.path} {200 if found else 404}\n")
        self.server.journal.flush()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


def main(cert, key, journal):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.journal = open(journal, "a", encoding="utf-8")
    # The handshake is left to the connection's own thread.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print(server.server_address[1], flush=True)
    server.serve_forever()


main(*sys.argv[1:])
