"""A server on this computer that answers as the Hugging Face hub does to model repositories."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import yaml


@dataclass
class Hub:
    """Repositories: commits, newest last, each a dictionary of files; branches name commits."""

    commits: dict = field(default_factory=dict)
    branches: dict = field(default_factory=dict)
    private: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)
    down: bool = False
    claimed_sizes: dict = field(default_factory=dict)

    def commit(self, repo, files, branch="main"):
        """Add files to a branch; returns the commit."""
        known = self.branches.setdefault(repo, {})
        before = self.commits.get((repo, known.get(branch)), {})
        content = before | files
        seed = repr((repo, len(self.commits), sorted(content))).encode()
        sha = hashlib.sha1(seed).hexdigest()
        self.commits[repo, sha] = content
        known[branch] = sha
        return sha

    def resolve(self, repo, revision):
        sha = self.branches.get(repo, {}).get(revision, revision)
        return sha if (repo, sha) in self.commits else None


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def do_POST(self):
        self._answer()

    def _answer(self):
        path = unquote(urlsplit(self.path).path)
        body = self._read()
        self.hub.asked.append(f"{self.command} {path}")
        if self.hub.down:
            return self._send(503, b"down")
        for pattern, answer in (
            (r"/api/models/(\w+/[\w-]+)(?:/revision/(.+))?", self._info),
            (r"/api/models/(\w+/[\w-]+)/tree/([^/]+).*", self._tree),
            (r"/api/validate-yaml", self._validate),
            (r"/api/repos/create", self._create),
            (r"/api/models/(\w+/[\w-]+)/branch/(.+)", self._branch),
            (r"/api/models/(\w+/[\w-]+)/preupload/(.+)", self._preupload),
            (r"/api/models/(\w+/[\w-]+)/commit/(.+)", self._commit),
            (r"/(\w+/[\w-]+)/resolve/([^/]+)/(.+)", self._file),
        ):
            match = re.fullmatch(pattern, path)
            if match:
                self._body = body
                return answer(*match.groups())
        return self._send(404, b"")

    def _read(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, status, content, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, value, status=200):
        self._send(status, json.dumps(value).encode(), Content_Type="application/json")

    def _known(self, repo, revision):
        if repo not in self.hub.branches:
            self._send(404, b"{}", X_Error_Code="RepoNotFound")
            return None
        sha = self.hub.resolve(repo, revision or "main")
        if sha is None:
            self._send(404, b"{}", X_Error_Code="RevisionNotFound")
        return sha

    def _info(self, repo, revision):
        sha = self._known(repo, revision)
        if sha is not None:
            files = self.hub.commits[repo, sha]
            siblings = [
                {"rfilename": name, "size": self._size(name, content), "blobId": _oid(content)}
                for name, content in files.items()
            ]
            self._json({"id": repo, "modelId": repo, "sha": sha, "siblings": siblings})

    def _size(self, name, content):
        return self.hub.claimed_sizes.get(name, len(content))

    def _tree(self, repo, revision):
        sha = self._known(repo, revision)
        if sha is not None:
            files = self.hub.commits[repo, sha]
            entries = [
                {"type": "file", "path": name, "size": len(content), "oid": _oid(content)}
                for name, content in files.items()
            ]
            self._json(entries)

    def _file(self, repo, revision, name):
        sha = self._known(repo, revision)
        if sha is None:
            return
        content = self.hub.commits[repo, sha].get(name)
        if content is None:
            self._send(404, b"", X_Error_Code="EntryNotFound")
        else:
            self._send(200, content, ETag=f'"{_oid(content)}"', X_Repo_Commit=sha)

    def _validate(self):
        page = json.loads(self._body)["content"]
        front = yaml.safe_load(page.split("---\n")[1])
        errors = [] if {"license", "library_name"} <= front.keys() else [{"message": "no license"}]
        self._json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def _create(self):
        asked = json.loads(self._body)
        repo = f"{asked.get('organization') or 'me'}/{asked['name']}"
        if repo in self.hub.branches:
            return self._json({"url": f"http://{self.headers['Host']}/{repo}"}, 409)
        self.hub.private[repo] = asked.get("private") or asked.get("visibility") == "private"
        self.hub.commit(repo, {".gitattributes": b""})
        return self._json({"url": f"http://{self.headers['Host']}/{repo}", "name": repo})

    def _branch(self, repo, branch):
        branches = self.hub.branches[repo]
        branches.setdefault(branch, branches["main"])
        self._json({})

    def _preupload(self, repo, revision):
        files = json.loads(self._body)["files"]
        modes = [
            {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files
        ]
        self._json({"files": modes})

    def _commit(self, repo, revision):
        lines = [json.loads(line) for line in self._body.splitlines()]
        files = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"])
            for line in lines
            if line["key"] == "file"
        }
        sha = self.hub.commit(repo, files, revision)
        url = f"http://{self.headers['Host']}/{repo}/commit/{sha}"
        self._json({"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""})


def _oid(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def serving():
    """A hub, and the address of its server."""
    handler = type("Handler", (_Handler,), {"hub": Hub()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield handler.hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
