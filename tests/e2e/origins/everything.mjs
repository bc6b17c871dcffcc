// An MCP server by the official SDK with all that the official conformance runner asks for: tools of every kind of content, prompts,
// resources, what a server asks back, and streams that are taken up again.
//
// usage: everything.mjs CERT KEY TOKEN; prints its port. Whoever does not come with the token gets 401.
import fs from 'node:fs';
import https from 'node:https';
import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { McpServer, ResourceTemplate } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import {
  CompleteRequestSchema,
  CreateMessageResultSchema,
  ElicitResultSchema,
  ListToolsRequestSchema,
  SetLevelRequestSchema,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';

const [cert, key, token] = process.argv.slice(2);
const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const WAV = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAD//w==';
const text = (value) => ({ type: 'text', text: value });
const image = { type: 'image', data: PNG, mimeType: 'image/png' };
const embedded = (uri, mimeType, value) => ({ type: 'resource', resource: { uri, mimeType, text: value } });
const choices = (values) => values.map(([value, title]) => ({ const: value, title }));

function tools(server) {
  const tool = (name, shape, answer) =>
    server.registerTool(name, { description: `The tool ${name}`, inputSchema: shape }, async (given, extra) => {
      const content = await answer(given, extra);
      return { content: Array.isArray(content) ? content : [content] };
    });
  const ask = async (extra, message, requestedSchema) => {
    const asked = { method: 'elicitation/create', params: { message, requestedSchema } };
    const { action, content } = await extra.sendRequest(asked, ElicitResultSchema);
    return text(`Elicitation completed: action=${action}, content=${JSON.stringify(content ?? {})}`);
  };
  tool('test_simple_text', {}, () => text('This is a simple text response for testing.'));
  tool('test_image_content', {}, () => image);
  tool('test_audio_content', {}, () => ({ type: 'audio', data: WAV, mimeType: 'audio/wav' }));
  tool('test_embedded_resource', {}, () => embedded('test://embedded-resource', 'text/plain', 'This is an embedded resource content.'));
  tool('test_multiple_content_types', {}, () => [
    text('Multiple content types test:'),
    image,
    embedded('test://mixed-content-resource', 'application/json', '{"test":"data","value":123}'),
  ]);
  tool('test_tool_with_logging', {}, async (_, extra) => {
    for (const data of ['Tool execution started', 'Tool processing data', 'Tool execution completed']) {
      await extra.sendNotification({ method: 'notifications/message', params: { level: 'info', data } });
      await pause(50);
    }
    return text('done');
  });
  tool('test_tool_with_progress', {}, async (_, extra) => {
    const progressToken = extra._meta?.progressToken;
    for (const progress of [0, 50, 100]) {
      const params = { progressToken, progress, total: 100 };
      if (progressToken !== undefined) await extra.sendNotification({ method: 'notifications/progress', params });
      await pause(50);
    }
    return text('done');
  });
  tool('test_error_handling', {}, () => {
    throw new Error('This tool intentionally returns an error for testing');
  });
  tool('test_sampling', { prompt: z.string() }, async ({ prompt }, extra) => {
    const params = { messages: [{ role: 'user', content: text(prompt) }], maxTokens: 100 };
    const said = await extra.sendRequest({ method: 'sampling/createMessage', params }, CreateMessageResultSchema);
    return text(`LLM response: ${said.content.text}`);
  });
  const person = { username: { type: 'string' }, email: { type: 'string' } };
  tool('test_elicitation', { message: z.string() }, ({ message }, extra) =>
    ask(extra, message, { type: 'object', properties: person, required: ['username', 'email'] }));
  tool('test_elicitation_sep1034_defaults', {}, (_, extra) => {
    const properties = {
      name: { type: 'string', default: 'John Doe' },
      age: { type: 'integer', default: 30 },
      score: { type: 'number', default: 95.5 },
      status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
      verified: { type: 'boolean', default: true },
    };
    return ask(extra, 'Please say', { type: 'object', properties });
  });
  tool('test_elicitation_sep1330_enums', {}, (_, extra) => {
    const plain = ['option1', 'option2', 'option3'];
    const titled = choices([['value1', 'First'], ['value2', 'Second'], ['value3', 'Third']]);
    const properties = {
      untitledSingle: { type: 'string', enum: plain },
      titledSingle: { type: 'string', oneOf: titled },
      legacyEnum: { type: 'string', enum: ['opt1', 'opt2', 'opt3'], enumNames: ['Option One', 'Option Two', 'Option Three'] },
      untitledMulti: { type: 'array', items: { type: 'string', enum: plain } },
      titledMulti: { type: 'array', items: { anyOf: titled } },
    };
    return ask(extra, 'Please choose', { type: 'object', properties });
  });
  // Ends the stream in the middle; the client comes back with `Last-Event-ID` for the answer.
  tool('test_reconnection', {}, async (_, extra) => {
    extra.closeSSEStream?.();
    await pause(100);
    return text('Reconnection test completed successfully');
  });
  tool('json_schema_2020_12_tool', {}, () => text('done'));
}

const JSON_SCHEMA = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  $defs: { address: { type: 'object', properties: { street: { type: 'string' }, city: { type: 'string' } } } },
  properties: { name: { type: 'string' }, address: { $ref: '#/$defs/address' } },
  additionalProperties: false,
};

/** The SDK makes its schemas of zod, which has no words for `$defs`: the one tool's is put into the list as it is to be. */
function listed(server) {
  const make = server.server._requestHandlers.get('tools/list');
  server.server.setRequestHandler(ListToolsRequestSchema, async (request, extra) => {
    const list = await make(request, extra);
    for (const tool of list.tools) if (tool.name === 'json_schema_2020_12_tool') tool.inputSchema = JSON_SCHEMA;
    return list;
  });
}

function prompts(server) {
  const prompt = (name, argsSchema, answer) =>
    server.registerPrompt(name, { description: `The prompt ${name}`, ...(argsSchema && { argsSchema }) }, (given) => ({
      messages: answer(given).map((content) => ({ role: 'user', content })),
    }));
  prompt('test_simple_prompt', undefined, () => [text('This is a simple prompt for testing.')]);
  prompt('test_prompt_with_arguments', { arg1: z.string(), arg2: z.string() }, ({ arg1, arg2 }) => [
    text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`),
  ]);
  prompt('test_prompt_with_embedded_resource', { resourceUri: z.string() }, ({ resourceUri }) => [
    embedded(resourceUri, 'text/plain', 'Embedded resource content for testing.'),
    text('Please process the embedded resource above.'),
  ]);
  prompt('test_prompt_with_image', undefined, () => [image, text('Please analyze the image above.')]);
}

function resources(server) {
  const resource = (name, mimeType, content) => {
    const uri = `test://${name}`;
    server.registerResource(name, uri, { description: name, mimeType }, () => ({ contents: [{ uri, mimeType, ...content }] }));
  };
  resource('static-text', 'text/plain', { text: 'This is the content of the static text resource.' });
  resource('static-binary', 'image/png', { blob: PNG });
  resource('watched-resource', 'text/plain', { text: 'watched' });
  const template = new ResourceTemplate('test://template/{id}/data', { list: undefined });
  server.registerResource('template', template, { description: 'by id', mimeType: 'application/json' }, (uri, { id }) => ({
    contents: [{ uri: uri.href, mimeType: 'application/json', text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` }) }],
  }));
}

function serverOf() {
  const capabilities = { logging: {}, completions: {}, resources: { subscribe: true } };
  const server = new McpServer({ name: 'everything', version: '1' }, { capabilities });
  tools(server);
  listed(server);
  prompts(server);
  resources(server);
  const nothing = async () => ({});
  for (const schema of [SetLevelRequestSchema, SubscribeRequestSchema, UnsubscribeRequestSchema]) {
    server.server.setRequestHandler(schema, nothing);
  }
  server.server.setRequestHandler(CompleteRequestSchema, async () => ({ completion: { values: ['paris', 'park'], total: 2, hasMore: false } }));
  return server;
}

/** What was sent on streams that have ended, so that they can be taken up again. */
function memory() {
  const events = [];
  return {
    async storeEvent(stream, message) {
      events.push({ stream, message });
      return String(events.length);
    },
    async getStreamIdForEventId(id) {
      return events[Number(id) - 1]?.stream;
    },
    async replayEventsAfter(id, { send }) {
      const { stream } = events[Number(id) - 1];
      for (let at = Number(id); at < events.length; at += 1) {
        const event = events[at];
        if (event.stream === stream && Object.keys(event.message).length > 0) await send(String(at + 1), event.message);
      }
      return stream;
    },
  };
}

const sessions = new Map();

async function answer(request, response) {
  // As servers on the loopback must, against names that were bound anew to it.
  const host = request.headers.host.split(':')[0];
  if (!['localhost', 'mcp.everything.test'].includes(host)) return response.writeHead(403).end();
  if (request.headers.authorization !== `Bearer ${token}`) return response.writeHead(401).end();
  // The runner says an older revision than the one whose streams it tries; the SDK would keep them from it.
  request.rawHeaders.forEach((value, at, all) => {
    if (value === '2025-03-26' && /^mcp-protocol-version$/i.test(all[at - 1])) all[at] = '2025-11-25';
  });
  const known = sessions.get(request.headers['mcp-session-id']);
  if (known) return known.handleRequest(request, response);
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: () => randomUUID(),
    eventStore: memory(),
    retryInterval: 100,
    onsessioninitialized: (id) => sessions.set(id, transport),
  });
  await serverOf().connect(transport);
  return transport.handleRequest(request, response);
}

const server = https.createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) }, (request, response) => {
  answer(request, response).catch(() => response.destroy());
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
