"""The software around the appliance: Debian's NSD and nginx, with their files."""

import hashlib
import os
import shutil
from functools import partial
from pathlib import Path

from appliance.lab.build import ROOT
from appliance.lab.errors import LabError
from appliance.lab.plan import (
    NAME_SERVER,
    NATIVE_IPV6,
    REMOTE,
    WEB,
    Plan,
)
from appliance.lab.service import Service
from appliance.lab.waiting import accepts, answers_dns

A = 1
BIG_FILE = "100MB.bin"
BIG_FILE_BYTES = 100_000_000
UPLOAD_BYTES = 3_000_000

ZONE = """\
$ORIGIN example.
$TTL 60
@         SOA   ns hostmaster 1 3600 600 86400 60
@         NS    ns
ns        A     {name_server}
v4only    A     {web}
www       CNAME v4only
dual      A     {web}
dual      AAAA  {native}
remote    A     {remote}
v6only    AAAA  {native}
many      A     {web}
{many}"""

NSD = """\
server:
  ip-address: {name_server}
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  database: ""
  zonelistfile: "{folder}/zone.list"
  xfrdfile: "{folder}/xfrd.state"
  xfrdir: "{folder}"
  pidfile: ""
  hide-version: yes
remote-control:
  control-enable: no
zone:
  name: example
  zonefile: example.zone
"""

NGINX = """\
user root;
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 200m;
  sendfile on;
  server {{
    listen {listen};
    root {folder}/www;
    location /upload {{ proxy_pass http://unix:{folder}/sink; }}
  }}
  server {{
    listen unix:{folder}/sink;
    location / {{ return 200 "$content_length bytes arrived\\n"; }}
  }}
}}
"""


def big_file(folder: Path) -> str:
    """Writes the big file of random bytes; its SHA-256."""
    digest = hashlib.sha256()
    with (folder / BIG_FILE).open("wb") as file:
        for _ in range(BIG_FILE_BYTES // 1_000_000):
            block = os.urandom(1_000_000)
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin:/bin")
    if not found:
        raise LabError(f"{name} is not installed", f"apt-get install {name}, or `make setup`")
    return found


def name_server() -> Service:
    folder = ROOT / "nsd"
    folder.mkdir()
    # An answer that no UDP message holds, so that a client has to come again by TCP.
    many = "".join(f'many TXT "{number:03} {"." * 200}"\n' for number in range(40))
    (folder / "example.zone").write_text(
        ZONE.format(name_server=NAME_SERVER, web=WEB, native=NATIVE_IPV6, remote=REMOTE, many=many)
    )
    configuration = folder / "nsd.conf"
    configuration.write_text(NSD.format(name_server=NAME_SERVER, folder=folder))
    return Service(
        name="nsd",
        node="servers",
        argv=(_program("nsd"), "-d", "-c", str(configuration)),
        ready=partial(answers_dns, str(NAME_SERVER), "v4only.example", A),
    )


def web_server(node: str, address: str, page: str) -> Service:
    """nginx on port 80 of one address; ``page`` is what / says."""
    folder = ROOT / f"nginx-{node}"
    (folder / "www").mkdir(parents=True)
    (folder / "www" / "index.html").write_text(page)
    configuration = folder / "nginx.conf"
    listen = f"[{address}]:80" if ":" in address else f"{address}:80"
    configuration.write_text(NGINX.format(folder=folder, listen=listen))
    return Service(
        name=f"nginx-{node}",
        node=node,
        argv=(_program("nginx"), "-e", str(folder / "error.log"), "-c", str(configuration)),
        ready=partial(accepts, address, 80),
    )


def services(plan: Plan) -> list[Service]:
    """Everything around the appliance, in the order to start it."""
    return [
        name_server(),
        web_server("servers", str(WEB), f"I am {WEB} and have no IPv6\n"),
        web_server("remote", str(REMOTE), f"I am {REMOTE}, behind a narrow path\n"),
        web_server("native", str(NATIVE_IPV6), f"I am {NATIVE_IPV6} and have no IPv4\n"),
        *(
            web_server(pod.name, str(pod.ipv6), f"I am {pod.name}, {pod.ipv6}, without IPv4\n")
            for pod in plan.pods
        ),
    ]
