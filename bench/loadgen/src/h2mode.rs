//! HTTP/2 in closed or open loop: a connection for each of `-c`, one request after the other on each.
use super::*;

async fn one(send: &mut h2::client::SendRequest<bytes::Bytes>, o: &Opt) -> Result<(u16, u64), String> {
    let method = if o.body > 0 { "POST" } else { "GET" };
    let authority = if o.port == 443 { o.host.clone() } else { format!("{}:{}", o.host, o.port) };
    let mut request = http::Request::builder().method(method).uri(format!("https://{authority}{}", o.path));
    for line in &o.headers {
        if let Some((name, value)) = line.split_once(':') {
            request = request.header(name.trim(), value.trim());
        }
    }
    let request = request.header("user-agent", "loadgen").body(()).map_err(|e| e.to_string())?;
    std::future::poll_fn(|cx| send.poll_ready(cx)).await.map_err(|e| e.to_string())?;
    let (answer, mut stream) = send.send_request(request, o.body == 0).map_err(|e| e.to_string())?;
    if o.body > 0 {
        stream.send_data(body(o.body).into(), true).map_err(|e| e.to_string())?;
    }
    let answer = answer.await.map_err(|e| e.to_string())?;
    let status = answer.status().as_u16();
    let mut from = answer.into_body();
    let mut got = 0;
    while let Some(piece) = from.data().await {
        let piece = piece.map_err(|e| e.to_string())?;
        got += piece.len() as u64;
        let _ = from.flow_control().release_capacity(piece.len());
    }
    Ok((status, got))
}

pub async fn run(o: Rc<Opt>, tls: Option<TlsConnector>) {
    let hist = Histogram::new_with_bounds(1, 120_000_000_000, 3).unwrap();
    let st = Rc::new(RefCell::new(St { hist, ok: 0, errs: 0, bad: 0, bytes: 0, first_err: None, reconn: 0 }));
    let mut open = Vec::new();
    for _ in 0..o.conns {
        let s = dial(&o, &tls, &o.host).await.unwrap_or_else(|e| die(&format!("dial: {e}")));
        let mut b = h2::client::Builder::new();
        b.initial_window_size(1 << 20).initial_connection_window_size(1 << 22);
        let (send, conn) = b.handshake(s).await.unwrap_or_else(|e| die(&format!("h2: {e}")));
        tokio::task::spawn_local(conn);
        open.push(send);
    }
    let t0 = Instant::now();
    let from = t0 + Duration::from_secs_f64(o.warmup);
    let end = from + Duration::from_secs_f64(o.dur);
    let cpu0 = cpu_self();
    let mut all = Vec::new();
    for (i, mut send) in open.into_iter().enumerate() {
        let (o, st) = (o.clone(), st.clone());
        all.push(tokio::task::spawn_local(async move {
            let step = if o.rate > 0.0 { Duration::from_secs_f64(o.conns as f64 / o.rate) } else { Duration::ZERO };
            let mut due = t0 + step.mul_f64(i as f64 / o.conns as f64);
            while Instant::now() < end {
                if o.rate > 0.0 {
                    tokio::time::sleep_until(due.into()).await;
                    due += step;
                }
                let start = Instant::now();
                let got = one(&mut send, &o).await;
                let done = Instant::now();
                let mut st = st.borrow_mut();
                match got {
                    Ok((200, n)) if done >= from => {
                        st.ok += 1;
                        st.bytes += n;
                        st.hist.saturating_record((done - start).as_nanos() as u64);
                    }
                    Ok((200, _)) => {}
                    Ok((code, _)) => {
                        st.bad += 1;
                        st.first_err.get_or_insert(format!("status {code}"));
                    }
                    Err(e) => {
                        st.errs += 1;
                        st.first_err.get_or_insert(e);
                        break;
                    }
                }
            }
        }));
    }
    for task in all {
        let _ = task.await;
    }
    let el = (Instant::now().min(end) - from.min(Instant::now())).as_secs_f64().max(1e-9);
    report(&o, &st.borrow(), el, cpu_self() - cpu0);
}
