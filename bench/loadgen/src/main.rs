//! loadgen: closed- or open-loop HTTP/1.1 load through (a) nothing, (b) a plain-HTTP reverse proxy,
//! (c) an HTTP CONNECT proxy (tunnel or MITM). One thread, tokio current_thread, raw HTTP/1.1 with httparse.
//! Prints one JSON object on stdout.
//!
//!   loadgen --url https://127.0.0.1:8443/small.json [--proxy 127.0.0.1:3128] [--proxy-auth user:pass]
//!           [--ca FILE]... [-c 64] [-d SECS | -n COUNT] [--rate R] [--warmup SECS]
//!           [--mode keepalive|newconn|idle|startup|sse] [--hosts K] [--pq] [-H 'name: value']...
//! --h2: HTTP/2 (keepalive mode alone): -c connections, one request after the other on each.
//! newconn: every request is TCP + CONNECT + full TLS handshake + GET + close. With --hosts K the host of
//!   connection i is h{i}.bench.test (i from --host-base), used once each: cold leaf certificates.
//! idle: opens -c connections, one GET on each, holds them for -d seconds, prints a line "READY" when open.
//! startup: runs --cmd 'shell words', polls with whole requests until a 200, prints the milliseconds.
//! sse: -c streams for -d seconds; events carry the sender's CLOCK_REALTIME ns; reports the delivery delay.
use hdrhistogram::Histogram;
use rustls::pki_types::{pem::PemObject, CertificateDer, ServerName};
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

trait Rw: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Rw for T {}
type S = Box<dyn Rw>;

mod h2mode;

#[derive(Clone, Default)]
struct Opt {
    tls: bool,
    host: String,
    port: u16,
    path: String,
    proxy: Option<String>,
    proxy_auth: Option<String>,
    connect: Option<String>,
    cas: Vec<String>,
    insecure: bool,
    conns: usize,
    dur: f64,
    count: u64,
    rate: f64,
    warmup: f64,
    mode: String,
    hosts: usize,
    host_base: usize,
    pq: bool,
    headers: Vec<String>,
    cmd: Option<String>,
    sni: Option<String>,
    body: usize,
    resume: bool,
    h2: bool,
}

#[derive(Debug)]
struct NoVerify(Arc<rustls::crypto::CryptoProvider>);
impl rustls::client::danger::ServerCertVerifier for NoVerify {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        m: &[u8],
        c: &CertificateDer<'_>,
        d: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(m, c, d, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        m: &[u8],
        c: &CertificateDer<'_>,
        d: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(m, c, d, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn die(s: &str) -> ! {
    eprintln!("loadgen: {s}");
    std::process::exit(2)
}
fn err(s: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::Other, s.into())
}

fn tls_config(o: &Opt) -> Arc<rustls::ClientConfig> {
    let mut p = rustls::crypto::aws_lc_rs::default_provider();
    if !o.pq {
        p.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519, rustls::crypto::aws_lc_rs::kx_group::SECP256R1];
    }
    let p = Arc::new(p);
    let b = rustls::ClientConfig::builder_with_provider(p.clone()).with_safe_default_protocol_versions().unwrap();
    let mut c = if o.insecure {
        b.dangerous().with_custom_certificate_verifier(Arc::new(NoVerify(p))).with_no_client_auth()
    } else {
        let mut r = rustls::RootCertStore::empty();
        for f in &o.cas {
            for c in CertificateDer::pem_file_iter(f).unwrap_or_else(|e| die(&format!("{f}: {e:?}"))) {
                r.add(c.unwrap()).unwrap();
            }
        }
        b.with_root_certificates(r).with_no_client_auth()
    };
    c.alpn_protocols = vec![if o.h2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    if !o.resume {
        c.resumption = rustls::client::Resumption::disabled();
    }
    Arc::new(c)
}

async fn read_head<R: AsyncRead + Unpin + ?Sized>(s: &mut R, buf: &mut Vec<u8>) -> io::Result<usize> {
    let mut from = 0;
    loop {
        if let Some(i) = find(&buf[from..], b"\r\n\r\n") {
            return Ok(from + i + 4);
        }
        from = buf.len().saturating_sub(3);
        if s.read_buf(buf).await? == 0 {
            return Err(err("eof in head"));
        }
        if buf.len() > 1 << 20 {
            return Err(err("head too long"));
        }
    }
}
fn find(h: &[u8], n: &[u8]) -> Option<usize> {
    h.windows(n.len()).position(|w| w == n)
}

async fn dial(o: &Opt, tls: &Option<TlsConnector>, host: &str) -> io::Result<S> {
    let addr = match &o.proxy {
        Some(p) => p.clone(),
        None => o.connect.clone().unwrap_or_else(|| format!("{}:{}", o.host, o.port)),
    };
    let mut t = TcpStream::connect(&addr).await?;
    t.set_nodelay(true)?;
    if o.proxy.is_some() && o.tls {
        let mut r = format!("CONNECT {host}:{p} HTTP/1.1\r\nHost: {host}:{p}\r\n", p = o.port);
        if let Some(a) = &o.proxy_auth {
            use base64::Engine;
            r += &format!("Proxy-Authorization: Basic {}\r\n", base64::engine::general_purpose::STANDARD.encode(a));
        }
        r += "\r\n";
        t.write_all(r.as_bytes()).await?;
        let mut b = Vec::with_capacity(1024);
        let n = read_head(&mut t, &mut b).await?;
        if b.len() < 12 || &b[9..12] != b"200" {
            return Err(err(format!("CONNECT: {}", String::from_utf8_lossy(&b[..n.min(120)]))));
        }
    }
    if let Some(c) = tls {
        let sni = o.sni.clone().unwrap_or_else(|| host.to_string());
        let name = ServerName::try_from(sni).map_err(|e| err(e.to_string()))?;
        let s = c.connect(name, t).await?;
        Ok(Box::new(s))
    } else {
        Ok(Box::new(t))
    }
}

fn request(o: &Opt, host: &str) -> Vec<u8> {
    let hp =
        if o.tls && o.port == 443 || !o.tls && o.port == 80 { host.to_string() } else { format!("{host}:{}", o.port) };
    let target = if o.proxy.is_some() && !o.tls { format!("http://{hp}{}", o.path) } else { o.path.clone() };
    let m = if o.body > 0 { "POST" } else { "GET" };
    let mut r = format!("{m} {target} HTTP/1.1\r\nHost: {hp}\r\nUser-Agent: loadgen\r\nAccept: */*\r\n");
    for h in &o.headers {
        r += h;
        r += "\r\n";
    }
    if o.proxy.is_some() && !o.tls {
        if let Some(a) = &o.proxy_auth {
            use base64::Engine;
            r += &format!("Proxy-Authorization: Basic {}\r\n", base64::engine::general_purpose::STANDARD.encode(a));
        }
    }
    if o.body > 0 {
        r += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", o.body);
    }
    r += "\r\n";
    let mut r = r.into_bytes();
    r.extend(body(o.body));
    r
}

/// A JSON object of `n` octets (16 at least).
fn body(n: usize) -> Vec<u8> {
    match n {
        0 => Vec::new(),
        n => format!("{{\"body\":\"{}\"}}", "x".repeat(n.saturating_sub(11))).into_bytes(),
    }
}

/// One exchange. Returns (status, body bytes, connection still usable).
async fn exchange(s: &mut S, req: &[u8], buf: &mut Vec<u8>) -> io::Result<(u16, u64, bool)> {
    s.write_all(req).await?;
    s.flush().await?;
    buf.clear();
    let n = read_head(s, buf).await?;
    let (mut cl, mut chunked, mut close, status);
    {
        let mut hs = [httparse::EMPTY_HEADER; 64];
        let mut r = httparse::Response::new(&mut hs);
        r.parse(&buf[..n]).map_err(|e| err(e.to_string()))?;
        status = r.code.unwrap_or(0);
        cl = None;
        chunked = false;
        close = false;
        for h in r.headers.iter() {
            if h.name.eq_ignore_ascii_case("content-length") {
                cl = std::str::from_utf8(h.value).ok().and_then(|v| v.trim().parse::<u64>().ok());
            } else if h.name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = h.value.windows(7).any(|w| w.eq_ignore_ascii_case(b"chunked"));
            } else if h.name.eq_ignore_ascii_case("connection") {
                close = h.value.eq_ignore_ascii_case(b"close");
            }
        }
    }
    let mut have = (buf.len() - n) as u64;
    if chunked {
        let mut total = 0u64;
        buf.drain(..n);
        loop {
            let i = loop {
                if let Some(i) = find(buf, b"\r\n") {
                    break i;
                }
                if s.read_buf(buf).await? == 0 {
                    return Err(err("eof in chunk"));
                }
            };
            let l = std::str::from_utf8(&buf[..i])
                .ok()
                .and_then(|x| u64::from_str_radix(x.split(';').next().unwrap().trim(), 16).ok())
                .ok_or_else(|| err("bad chunk"))?;
            buf.drain(..i + 2);
            let need = l as usize + 2;
            while buf.len() < need {
                if s.read_buf(buf).await? == 0 {
                    return Err(err("eof in chunk body"));
                }
            }
            buf.drain(..need);
            total += l;
            if l == 0 {
                return Ok((status, total, !close));
            }
        }
    }
    match cl {
        Some(l) => {
            let mut b = [0u8; 65536];
            while have < l {
                let k = s.read(&mut b).await?;
                if k == 0 {
                    return Err(err("eof in body"));
                }
                have += k as u64;
            }
            Ok((status, l, !close))
        }
        None => {
            let mut b = [0u8; 65536];
            loop {
                let k = s.read(&mut b).await?;
                if k == 0 {
                    break;
                }
                have += k as u64;
            }
            Ok((status, have, false))
        }
    }
}

struct St {
    hist: Histogram<u64>,
    ok: u64,
    errs: u64,
    bad: u64,
    bytes: u64,
    first_err: Option<String>,
    reconn: u64,
}

fn cpu_self() -> f64 {
    unsafe {
        let mut u: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut u);
        u.ru_utime.tv_sec as f64
            + u.ru_utime.tv_usec as f64 / 1e6
            + u.ru_stime.tv_sec as f64
            + u.ru_stime.tv_usec as f64 / 1e6
    }
}

fn report(o: &Opt, st: &St, el: f64, cpu: f64) {
    let q = |p: f64| st.hist.value_at_quantile(p) as f64 / 1000.0;
    println!("{{\"mode\":\"{}\",\"conns\":{},\"secs\":{:.3},\"ok\":{},\"errors\":{},\"non200\":{},\"reconnects\":{},\"rps\":{:.1},\"mbps\":{:.1},\"mean_us\":{:.1},\"p50_us\":{:.1},\"p90_us\":{:.1},\"p99_us\":{:.1},\"p999_us\":{:.1},\"max_us\":{:.1},\"loadgen_cpu_s\":{:.2},\"first_error\":{:?}}}",
        o.mode, o.conns, el, st.ok, st.errs, st.bad, st.reconn, st.ok as f64 / el, st.bytes as f64 / el / 1e6, st.hist.mean() / 1000.0, q(0.5), q(0.9), q(0.99), q(0.999), st.hist.max() as f64 / 1000.0, cpu, st.first_err.clone().unwrap_or_default());
}

fn main() {
    let mut o = Opt { conns: 1, mode: "keepalive".into(), ..Default::default() };
    let mut a = std::env::args().skip(1);
    let mut url = String::new();
    while let Some(k) = a.next() {
        let mut v = || a.next().unwrap_or_else(|| die(&format!("{k} needs a value")));
        match k.as_str() {
            "--url" => url = v(),
            "--proxy" => o.proxy = Some(v()),
            "--proxy-auth" => o.proxy_auth = Some(v()),
            "--ca" => o.cas.push(v()),
            "--insecure" => o.insecure = true,
            "-c" => o.conns = v().parse().unwrap(),
            "-d" => o.dur = v().parse().unwrap(),
            "-n" => o.count = v().parse().unwrap(),
            "--rate" => o.rate = v().parse().unwrap(),
            "--warmup" => o.warmup = v().parse().unwrap(),
            "--mode" => o.mode = v(),
            "--hosts" => o.hosts = v().parse().unwrap(),
            "--host-base" => o.host_base = v().parse().unwrap(),
            "--pq" => o.pq = true,
            "-H" => o.headers.push(v()),
            "--cmd" => o.cmd = Some(v()),
            "--sni" => o.sni = Some(v()),
            "--body" => o.body = v().parse().unwrap(),
            "--connect" => o.connect = Some(v()),
            "--resume" => o.resume = true,
            "--h2" => o.h2 = true,
            _ => die(&format!("unknown option {k}")),
        }
    }
    let (s, rest) = url.split_once("://").unwrap_or_else(|| die("--url"));
    o.tls = s == "https";
    let (hp, p) = rest.split_once('/').unwrap_or((rest, ""));
    o.path = format!("/{p}");
    let (h, port) =
        hp.rsplit_once(':').map(|(h, p)| (h, p.parse().unwrap())).unwrap_or((hp, if o.tls { 443 } else { 80 }));
    o.host = h.into();
    o.port = port;
    if o.dur == 0.0 && o.count == 0 {
        o.dur = 5.0;
    }
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&rt, run(o));
}

async fn run(o: Opt) {
    let tls = if o.tls { Some(TlsConnector::from(tls_config(&o))) } else { None };
    let o = Rc::new(o);
    if o.h2 {
        return h2mode::run(o, tls).await;
    }
    match o.mode.as_str() {
        "startup" => return startup(&o, &tls).await,
        "idle" => return idle(o, tls).await,
        "sse" => return sse(o, tls).await,
        _ => {}
    }
    let st = Rc::new(RefCell::new(St {
        hist: Histogram::new_with_bounds(1, 120_000_000_000, 3).unwrap(),
        ok: 0,
        errs: 0,
        bad: 0,
        bytes: 0,
        first_err: None,
        reconn: 0,
    }));
    let newconn = o.mode == "newconn";
    let left = Rc::new(Cell::new(if o.count > 0 { o.count as i64 } else { i64::MAX }));
    let hostno = Rc::new(Cell::new(o.host_base));
    // Open every connection first, then start together.
    let mut socks: Vec<Option<S>> = Vec::new();
    for _ in 0..o.conns {
        if newconn {
            socks.push(None);
            continue;
        }
        match dial(&o, &tls, &o.host).await {
            Ok(s) => socks.push(Some(s)),
            Err(e) => die(&format!("dial: {e}")),
        }
    }
    let t0 = Instant::now();
    let record_from = t0 + Duration::from_secs_f64(o.warmup);
    let end = if o.dur > 0.0 { record_from + Duration::from_secs_f64(o.dur) } else { t0 + Duration::from_secs(600) };
    let cpu0 = cpu_self();
    let mut js = Vec::new();
    for (i, sock) in socks.into_iter().enumerate() {
        let (o, tls, st, left, hostno) = (o.clone(), tls.clone(), st.clone(), left.clone(), hostno.clone());
        js.push(tokio::task::spawn_local(async move {
            let mut sock = sock;
            let mut buf = Vec::with_capacity(32768);
            let req0 = request(&o, &o.host);
            let step = if o.rate > 0.0 { Duration::from_secs_f64(o.conns as f64 / o.rate) } else { Duration::ZERO };
            let mut due = t0 + step.mul_f64(i as f64 / o.conns as f64);
            loop {
                let now = Instant::now();
                if now >= end || left.get() <= 0 {
                    break;
                }
                let start = if o.rate > 0.0 {
                    if due > now {
                        tokio::time::sleep_until(due.into()).await;
                    }
                    // tokio timers have 1 ms grain: latency from the real send unless we are late by more than that
                    let d = due;
                    due += step;
                    let n = Instant::now();
                    if n > d + Duration::from_millis(2) {
                        d
                    } else {
                        n
                    }
                } else {
                    now
                };
                left.set(left.get() - 1);
                let r: io::Result<(u16, u64, bool)> = async {
                    if newconn {
                        let (host, req) = if o.hosts > 0 {
                            let k = hostno.get();
                            hostno.set(k + 1);
                            if k >= o.host_base + o.hosts {
                                left.set(0);
                                return Err(err("out of hosts"));
                            }
                            let h = format!("h{k}.bench.test");
                            let r = request(&o, &h);
                            (h, r)
                        } else {
                            (o.host.clone(), req0.clone())
                        };
                        let mut s = dial(&o, &tls, &host).await?;
                        let r = exchange(&mut s, &req, &mut buf).await?;
                        let _ = tokio::time::timeout(Duration::from_millis(50), s.shutdown()).await;
                        Ok(r)
                    } else {
                        if sock.is_none() {
                            sock = Some(dial(&o, &tls, &o.host).await?);
                            st.borrow_mut().reconn += 1;
                        }
                        let r = exchange(sock.as_mut().unwrap(), &req0, &mut buf).await?;
                        if !r.2 {
                            sock = None;
                        }
                        Ok(r)
                    }
                }
                .await;
                let fin = Instant::now();
                let mut s = st.borrow_mut();
                match r {
                    Ok((code, n, _)) => {
                        if fin >= record_from {
                            if code == 200 {
                                s.ok += 1;
                                s.bytes += n;
                                s.hist.saturating_record((fin - start).as_nanos() as u64);
                            } else {
                                s.bad += 1;
                                if s.first_err.is_none() {
                                    s.first_err = Some(format!("status {code}"));
                                }
                            }
                        }
                    }
                    Err(e) => {
                        if e.to_string() == "out of hosts" {
                            break;
                        }
                        sock = None;
                        s.errs += 1;
                        if s.first_err.is_none() {
                            s.first_err = Some(e.to_string());
                        }
                        drop(s);
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            }
        }));
    }
    for j in js {
        let _ = j.await;
    }
    let el = (Instant::now().min(end) - record_from.min(Instant::now())).as_secs_f64().max(1e-9);
    report(&o, &st.borrow(), el, cpu_self() - cpu0);
}

async fn idle(o: Rc<Opt>, tls: Option<TlsConnector>) {
    let t0 = Instant::now();
    let ok = Rc::new(RefCell::new(Vec::<S>::new()));
    let errs = Rc::new(Cell::new(0u64));
    let next = Rc::new(Cell::new(0usize));
    let fe = Rc::new(RefCell::new(String::new()));
    let mut js = Vec::new();
    for _ in 0..16 {
        let (o, tls, ok, errs, next, fe) = (o.clone(), tls.clone(), ok.clone(), errs.clone(), next.clone(), fe.clone());
        js.push(tokio::task::spawn_local(async move {
            let req = request(&o, &o.host);
            let mut buf = Vec::new();
            while next.get() < o.conns && t0.elapsed().as_secs_f64() < 120.0 {
                next.set(next.get() + 1);
                let r: io::Result<S> = async {
                    let mut s = dial(&o, &tls, &o.host).await?;
                    let r = exchange(&mut s, &req, &mut buf).await?;
                    if r.0 != 200 {
                        return Err(err(format!("status {}", r.0)));
                    }
                    Ok(s)
                }
                .await;
                match r {
                    Ok(s) => ok.borrow_mut().push(s),
                    Err(e) => {
                        errs.set(errs.get() + 1);
                        *fe.borrow_mut() = e.to_string();
                    }
                }
            }
        }));
    }
    for j in js {
        let _ = j.await;
    }
    println!(
        "{{\"mode\":\"idle\",\"open\":{},\"errors\":{},\"secs\":{:.3},\"first_error\":{:?}}}",
        ok.borrow().len(),
        errs.get(),
        t0.elapsed().as_secs_f64(),
        fe.borrow()
    );
    println!("READY");
    use std::io::Write;
    let _ = std::io::stdout().flush();
    tokio::time::sleep(Duration::from_secs_f64(o.dur)).await;
    std::process::exit(0);
}

async fn startup(o: &Rc<Opt>, tls: &Option<TlsConnector>) {
    let cmd = o.cmd.clone().unwrap_or_else(|| die("--cmd"));
    let t0 = Instant::now();
    let mut ch = tokio::process::Command::new("/bin/sh")
        .arg("-c")
        .arg(format!("exec {cmd}"))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .stdin(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let req = request(o, &o.host);
    let mut buf = Vec::new();
    let mut last = String::new();
    let mut ms = -1.0;
    while t0.elapsed().as_secs() < 40 {
        let r = tokio::time::timeout(Duration::from_secs(5), async {
            let mut s = dial(o, tls, &o.host).await?;
            exchange(&mut s, &req, &mut buf).await
        })
        .await;
        match r {
            Ok(Ok((200, _, _))) => {
                ms = t0.elapsed().as_secs_f64() * 1e3;
                break;
            }
            Ok(Ok((c, _, _))) => last = format!("status {c}"),
            Ok(Err(e)) => last = e.to_string(),
            Err(_) => last = "timeout".into(),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("{{\"mode\":\"startup\",\"ms\":{ms:.1},\"last\":{last:?}}}");
    if let Some(p) = ch.id() {
        unsafe {
            libc::kill(p as i32, libc::SIGTERM);
        }
    }
    if tokio::time::timeout(Duration::from_secs(5), ch.wait()).await.is_err() {
        let _ = ch.kill().await;
    }
}

async fn sse(o: Rc<Opt>, tls: Option<TlsConnector>) {
    let hist = Rc::new(RefCell::new(Histogram::<u64>::new_with_bounds(1, 120_000_000_000, 3).unwrap()));
    let ttfb = Rc::new(RefCell::new(Histogram::<u64>::new_with_bounds(1, 120_000_000_000, 3).unwrap()));
    let fe = Rc::new(RefCell::new(String::new()));
    let t0 = Instant::now();
    let end = t0 + Duration::from_secs_f64(o.dur);
    let mut js = Vec::new();
    for _ in 0..o.conns {
        let (o, tls, hist, ttfb, fe) = (o.clone(), tls.clone(), hist.clone(), ttfb.clone(), fe.clone());
        js.push(tokio::task::spawn_local(async move {
            let r: io::Result<()> = async {
                let mut s = dial(&o, &tls, &o.host).await?;
                let t = Instant::now();
                s.write_all(&request(&o, &o.host)).await?;
                s.flush().await?;
                let mut buf = Vec::with_capacity(65536);
                let n = tokio::time::timeout_at(end.into(), read_head(&mut s, &mut buf))
                    .await
                    .map_err(|_| err("no head before the end"))??;
                ttfb.borrow_mut().saturating_record(t.elapsed().as_nanos() as u64);
                if &buf[9..12] != b"200" {
                    return Err(err(format!("status {}", String::from_utf8_lossy(&buf[9..12]))));
                }
                buf.drain(..n);
                loop {
                    while let Some(i) = find(&buf, b"\n\n") {
                        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
                        if let Some(j) = find(&buf[..i], b"data: ") {
                            if let Some(ts) = std::str::from_utf8(&buf[j + 6..i])
                                .ok()
                                .and_then(|x| x.split_whitespace().next())
                                .and_then(|x| x.parse::<u64>().ok())
                            {
                                hist.borrow_mut().saturating_record(now.saturating_sub(ts));
                            }
                        }
                        buf.drain(..i + 2);
                    }
                    match tokio::time::timeout_at(end.into(), s.read_buf(&mut buf)).await {
                        Err(_) => break,
                        Ok(k) => {
                            if k? == 0 {
                                break;
                            }
                        }
                    }
                }
                Ok(())
            }
            .await;
            if let Err(e) = r {
                *fe.borrow_mut() = e.to_string();
            }
        }));
    }
    for j in js {
        let _ = j.await;
    }
    let h = hist.borrow();
    let q = |p: f64| h.value_at_quantile(p) as f64 / 1000.0;
    let tt = ttfb.borrow();
    println!("{{\"mode\":\"sse\",\"conns\":{},\"events\":{},\"p50_us\":{:.1},\"p99_us\":{:.1},\"max_us\":{:.1},\"ttfb_p50_us\":{:.1},\"first_error\":{:?}}}", o.conns, h.len(), q(0.5), q(0.99), h.max() as f64 / 1e3, tt.value_at_quantile(0.5) as f64 / 1e3, fe.borrow());
}
