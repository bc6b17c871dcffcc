// An MCP server by the official SDK, over TLS: sessions, Server-Sent Events, four tools.
//
// usage: mcp.mjs CERT KEY JOURNAL; prints its port. Each tool that is called goes to the journal, a line each.
import fs from 'node:fs';
import https from 'node:https';
import { randomUUID } from 'node:crypto';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { z } from 'zod';

const [cert, key, journal] = process.argv.slice(2);
const sessions = new Map();

function serverOf() {
  const server = new McpServer({ name: 'tracker', version: '1' });
  const tool = (name, shape, answer) =>
    server.registerTool(name, { description: name, inputSchema: shape }, async (given, extra) => {
      fs.appendFileSync(journal, `${name} ${JSON.stringify(given)}\n`);
      return { content: [{ type: 'text', text: answer(given, extra) }] };
    });
  // Tells what it was sent: a server that gives the credential away.
  tool('whoami', {}, (_, extra) => `you came with ${extra.requestInfo.headers.authorization}`);
  tool('create_issue', { team: z.string(), title: z.string() }, (given) => `created ${given.title}`);
  tool('delete_team', { team: z.string() }, () => 'deleted');
  tool('weather', { city: z.string() }, () => 'sunny');
  return server;
}

async function answer(request, response) {
  const known = sessions.get(request.headers['mcp-session-id']);
  if (known) return known.handleRequest(request, response);
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: () => randomUUID(),
    onsessioninitialized: (id) => sessions.set(id, transport),
  });
  await serverOf().connect(transport);
  return transport.handleRequest(request, response);
}

const server = https.createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) }, (request, response) => {
  answer(request, response).catch(() => response.destroy());
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
