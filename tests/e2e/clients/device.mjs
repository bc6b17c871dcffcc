// Logs in as a program without a browser does, with a certified client: device flow, ID token checked, refresh twice.
import { EnvHttpProxyAgent, setGlobalDispatcher } from 'undici';
import * as client from 'openid-client';
import { writeFileSync } from 'node:fs';

setGlobalDispatcher(new EnvHttpProxyAgent());
const host = 'https://auth.openai.com';
const config = new client.Configuration(
  { issuer: 'https://login.test', token_endpoint: `${host}/oauth/token`, device_authorization_endpoint: `${host}/oauth/device` },
  'client-1',
  undefined,
  client.None(),
);
const keep = (tokens) => {
  writeFileSync('login.json', JSON.stringify(tokens));
  console.log('token', JSON.stringify(tokens));
};
const call = async (tokens) => {
  const answer = await fetch('https://api.openai.com/v1/models', { headers: { authorization: `Bearer ${tokens.access_token}` } });
  console.log('call', answer.status);
};
const device = await client.initiateDeviceAuthorization(config, { scope: 'openid offline_access' });
let tokens = await client.pollDeviceAuthorizationGrant(config, device);
console.log('subject', tokens.claims().sub);
keep(tokens);
await call(tokens);
for (let round = 0; round < 2; round += 1) {
  tokens = await client.refreshTokenGrant(config, tokens.refresh_token);
  console.log('subject', tokens.claims().sub);
  keep(tokens);
  await call(tokens);
}
// What every reader of a JWT does: three parts, an object in each of the first two.
const claims = JSON.parse(Buffer.from(tokens.access_token.split('.')[1], 'base64url'));
console.log('expires', claims.exp);
