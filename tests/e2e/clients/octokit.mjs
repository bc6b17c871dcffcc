import { Octokit } from '@octokit/rest';
import { EnvHttpProxyAgent, fetch, setGlobalDispatcher } from 'undici';

setGlobalDispatcher(new EnvHttpProxyAgent());
const octokit = new Octokit({ auth: process.env.GITHUB_TOKEN, request: { fetch } });
const issues = await octokit.rest.issues.listForRepo({ owner: 'acme', repo: 'widget' });
if (issues.data[0].number !== 1) throw new Error(JSON.stringify(issues.data));
console.log('done');
