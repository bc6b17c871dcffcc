import { EnvHttpProxyAgent, setGlobalDispatcher } from 'undici';

// Node 24 honours NODE_USE_ENV_PROXY by itself; before it this line is the one documented setting.
setGlobalDispatcher(new EnvHttpProxyAgent());
const answer = await fetch('https://api.github.com/user', {
  headers: { authorization: `Bearer ${process.env.GITHUB_TOKEN}` },
});
const user = await answer.json();
if (user.login !== 'ada') throw new Error(JSON.stringify(user));
console.log('done');
