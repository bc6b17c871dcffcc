import OpenAI from 'openai';
import { EnvHttpProxyAgent, fetch, setGlobalDispatcher } from 'undici';

setGlobalDispatcher(new EnvHttpProxyAgent());
const client = new OpenAI({ fetch });
const answer = await client.chat.completions.create({
  model: 'model-1',
  messages: [{ role: 'user', content: 'ping' }],
});
if (answer.choices[0].message.content !== 'pong') throw new Error(JSON.stringify(answer));
console.log('done');
