// The official SDK's client: opens a session, lists the tools, calls what it is told. Prints a line for each.
//
// usage: mcp.mjs [TOOL ARGUMENTS]..
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { EnvHttpProxyAgent, fetch, setGlobalDispatcher } from 'undici';

setGlobalDispatcher(new EnvHttpProxyAgent());
const headers = { authorization: `Bearer ${process.env.TRACKER_TOKEN}` };
const client = new Client({ name: 'e2e', version: '1' });
const transport = new StreamableHTTPClientTransport(new URL('https://mcp.tracker.test/mcp'), { requestInit: { headers }, fetch });
await client.connect(transport);
const { tools } = await client.listTools();
console.log('tools', tools.map((tool) => tool.name).join(' '));
for (let at = 2; at < process.argv.length; at += 2) {
  const name = process.argv[at];
  try {
    const result = await client.callTool({ name, arguments: JSON.parse(process.argv[at + 1]) });
    console.log(name, 'answers', result.content[0].text);
  } catch (error) {
    console.log(name, 'fails', String(error.message).replaceAll('\n', ' '));
  }
}
await transport.terminateSession();
await client.close();
process.exit(0);
