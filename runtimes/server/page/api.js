// Calls of the server's routes. Whatever goes wrong becomes an error whose message is a sentence.

let key = "";

/** Send `value` with every call from now on. */
export function useKey(value) {
  key = value;
}

/** What a route refuses; `status` is HTTP's. */
export class Refusal extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** The JSON of a GET. */
export async function get(path) {
  return (await call(path, {})).value;
}

/**
 * The answer to a POST: its JSON as `value`, the server's `milliseconds`, the `tokens` that were read, and how many
 * texts were `cut`.
 */
export async function post(path, body, signal) {
  return call(path, { method: "POST", body: JSON.stringify(body), signal, headers: { "content-type": "application/json" } });
}

async function call(path, options) {
  const headers = { ...options.headers, ...(key && { authorization: `Bearer ${key}` }) };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The server does not answer; is it still running?", 0);
  }
  const value = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refusal(sentence(value?.error?.message ?? value?.error ?? `the server says ${answer.status}.`), answer.status);
  return {
    value,
    milliseconds: Number(/dur=([\d.]+)/.exec(answer.headers.get("server-timing") ?? "")?.[1] ?? NaN),
    tokens: Number(answer.headers.get("x-compute-tokens") ?? 0),
    cut: Number(answer.headers.get("x-truncated") ?? 0),
  };
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
