// The vendors' own SDKs, unchanged. Reads calls from a file, a line each: `octokit ROUTE JSON`, `graphql DOCUMENT-AS-JSON JSON`,
// `stripe RESOURCE.METHOD JSON-LIST`, `slack METHOD JSON`. Prints a line of JSON for each: `ok` with a part of the result, or what the
// SDK's error object says.
//
// usage: sdks.mjs FILE
import fs from 'node:fs';
import { Octokit } from '@octokit/rest';
import { WebClient } from '@slack/web-api';
import Stripe from 'stripe';

const { GITHUB_TOKEN, STRIPE_API_KEY, SLACK_BOT_TOKEN } = process.env;
const quiet = { debug() {}, info() {}, warn() {}, error() {} };
// Made when they are first needed: an agent has no placeholder of what it may not use.
const octokit = () => new Octokit({ auth: GITHUB_TOKEN, log: quiet });
// Stripe's own way to the network asks no proxy; `fetch` does.
const stripe = () => new Stripe(STRIPE_API_KEY, { maxNetworkRetries: 0, httpClient: Stripe.createFetchHttpClient() });
const slack = () => new WebClient(SLACK_BOT_TOKEN, { retryConfig: { retries: 0 }, rejectRateLimitedCalls: true });

const kinds = {
  octokit: async (route, given) => (await octokit().request(route, given)).data,
  graphql: async (document, given) => octokit().graphql(JSON.parse(document), given),
  stripe: async (path, given) => {
    const [resource, method] = path.split('.');
    return stripe()[resource][method](...given);
  },
  slack: async (method, given) => slack().apiCall(method, given),
};

for (const line of fs.readFileSync(process.argv[2], 'utf8').split('\n').filter(Boolean)) {
  const [kind, what, given] = line.split('\t');
  let said;
  try {
    said = { ok: true, result: await kinds[kind](what, JSON.parse(given)) };
  } catch (error) {
    const { name, message, status, statusCode, code, type, response, errors } = error;
    said = { ok: false, name, message, status: status ?? statusCode, code, type, errors, body: response?.data ?? error.raw ?? error.body };
  }
  console.log(JSON.stringify({ kind, what, ...said }));
}
