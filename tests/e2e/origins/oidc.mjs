// An authorization server (oidc-provider, certified for OpenID Connect) and an API that takes its tokens, over TLS on one port.
// usage: oidc.mjs CERT KEY SECONDS WORDS; WORDS is a file with the secret of its clients and the public key of one as JWK; prints {"port"}. SECONDS is
// how long access tokens live. GET /count tells what happened.
import crypto from "node:crypto";
import fs from "node:fs";
import https from "node:https";

import { Provider } from "oidc-provider";

const [cert, key, seconds, words] = process.argv.slice(2);
const { secret, jwk } = JSON.parse(fs.readFileSync(words, "utf8"));
const ttl = Number(seconds);
const count = { issued: 0, refreshed: 0, calls: 0, refused: 0, reused: 0, grants: {} };

const machine = (client_id, token_endpoint_auth_method, rest = {}) => ({
  client_id, token_endpoint_auth_method, grant_types: ["client_credentials"], redirect_uris: [], response_types: [], scope: "read write",
  ...(token_endpoint_auth_method.startsWith("client_secret") ? { client_secret: secret } : {}), ...rest,
});

const provider = new Provider("https://id.corp.test", {
  clients: [
    machine("machine", "client_secret_basic"),
    machine("poster", "client_secret_post"),
    machine("signer", "private_key_jwt", { jwks: { keys: [jwk] }, token_endpoint_auth_signing_alg: jwk.kty === "EC" ? "ES256" : "RS256" }),
    {
      client_id: "person", token_endpoint_auth_method: "none", application_type: "native", response_types: ["code"],
      grant_types: ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
      redirect_uris: ["http://127.0.0.1/callback"], scope: "openid offline_access read",
    },
  ],
  scopes: ["openid", "offline_access", "read", "write"],
  features: { clientCredentials: { enabled: true }, deviceFlow: { enabled: true }, devInteractions: { enabled: true } },
  ttl: {
    AccessToken: ttl, ClientCredentials: ttl, RefreshToken: 86400, Grant: 86400, Session: 86400, Interaction: 600, DeviceCode: 600,
    AuthorizationCode: 60, IdToken: 3600,
  },
  rotateRefreshToken: true,
  issueRefreshToken: async () => true,
  cookies: { keys: [crypto.randomBytes(32).toString("hex")] },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  clockTolerance: 5,
});
provider.proxy = true;
provider.on("grant.success", (ctx) => {
  const { grant_type, refresh_token } = ctx.oidc.params;
  count.issued += 1;
  count.grants[grant_type] = (count.grants[grant_type] ?? 0) + 1;
  if (refresh_token) count.refreshed += 1;
});
// A refresh token that comes again ends everything of its log-in.
provider.on("grant.revoked", () => { count.reused += 1; });

const oidc = provider.callback();
const api = async (request, response) => {
  const say = (status, body) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(body));
  };
  if (request.url === "/count") return say(200, count);
  request.resume();
  const token = (request.headers.authorization ?? "").replace(/^Bearer /, "");
  const found = (await provider.AccessToken.find(token)) ?? (await provider.ClientCredentials.find(token));
  if (!found) {
    count.refused += 1;
    return say(401, { error: "invalid_token" });
  }
  count.calls += 1;
  return say(200, { client: found.clientId, who: found.accountId ?? null, scope: found.scope });
};

const server = https.createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) }, (request, response) => {
  const host = (request.headers.host ?? "").split(":")[0];
  return host === "id.corp.test" ? oidc(request, response) : api(request, response);
});
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
