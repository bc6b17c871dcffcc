// ORIGIN in Node: an echo over TLS, HTTP/1.1 and HTTP/2, as Node's own parsers read it.
//
// usage: origin.js CERT KEY JOURNAL; prints its port. One JSON object a request goes to the journal:
// {"method", "target", "headers": [[name, value]], "body": base64}.
'use strict';
const fs = require('node:fs');
const http2 = require('node:http2');

const [cert, key, journal] = process.argv.slice(2);
const options = { cert: fs.readFileSync(cert), key: fs.readFileSync(key), allowHTTP1: true };

const server = http2.createSecureServer(options, (request, response) => {
  const pieces = [];
  request.on('data', (piece) => pieces.push(piece));
  request.on('error', () => {});
  request.on('end', () => {
    const headers = [];
    for (let at = 0; at < request.rawHeaders.length; at += 2) {
      headers.push([request.rawHeaders[at], request.rawHeaders[at + 1]]);
    }
    const seen = {
      method: request.method,
      target: request.url,
      headers,
      body: Buffer.concat(pieces).toString('base64'),
    };
    const text = JSON.stringify(seen);
    fs.appendFileSync(journal, text + '\n');
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
    response.end(request.method === 'HEAD' ? undefined : text);
  });
});
server.on('sessionError', () => {});
server.on('clientError', (_, socket) => socket.destroy());
server.on('tlsClientError', () => {});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
