// Says each word on a WebSocket and prints what comes back: `text:X`, `binary:X`, `parts:A|B` (fragments with a ping between them), `wait`.
import WebSocket from 'ws';

const [url, ...words] = process.argv.slice(2);
const socket = new WebSocket(url, { headers: { Authorization: `Bearer ${process.env.CHAT_TOKEN}` } });
const say = (word) => {
  const [kind, text] = [word.slice(0, word.indexOf(':')), word.slice(word.indexOf(':') + 1)];
  if (kind === 'text') socket.send(text);
  if (kind === 'binary') socket.send(Buffer.from(text));
  if (kind === 'parts') {
    const [front, back] = text.split('|');
    socket.send(front, { fin: false });
    socket.ping('?');
    socket.send(back, { fin: true });
  }
};
socket.on('open', () => console.log(`open ${JSON.stringify(socket.extensions)}`));
socket.on('message', (data, binary) => {
  console.log(`${binary ? 'binary' : 'text'} ${data}`);
  const word = words.shift();
  if (word === undefined) socket.close(1000, 'done');
  else if (word !== 'wait') say(word);
});
socket.on('close', (code, reason) => console.log(`closed ${code} ${reason}`));
socket.on('error', (error) => console.log(`error ${error.message}`));
