// Loaded before a client that cannot be told to: each of its requests says the header fields of `SAY`, "NAME: VALUE" a line.
import { Agent, getGlobalDispatcher, setGlobalDispatcher } from 'undici';

const fields = Object.fromEntries(process.env.SAY.split('\n').map((line) => line.split(': ')));
const before = process.env.SAY_DIRECT ? new Agent() : getGlobalDispatcher();
setGlobalDispatcher(before.compose((dispatch) => (options, handler) => {
  const given = options.headers ?? {};
  const pairs = Array.isArray(given) ? given.concat(Object.entries(fields).flat()) : { ...given, ...fields };
  return dispatch({ ...options, headers: pairs }, handler);
}));
