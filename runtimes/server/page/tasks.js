// For each task: what is typed, which route is asked, what is shown. `ask` throws a Refusal for what cannot be asked.
import { Refusal, post } from "./api.js";
import { bars, cosines, element, heatMap, marked, note } from "./views.js";

const MOST_TOKENS = 40;
const HEAVIEST = 20;

const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);
const area = (name, label, rows, value) => ({ name, label, rows, value });
const need = (value, message) => {
  if (!value.length) throw new Refusal(message, 0);
  return value;
};
const byScore = (rows) => [...rows].sort((a, b) => b.score - a.score);

const CATS = ["The cat sat on the mat.", "A kitten is lying on the rug.", "Interest rates went up again.", "The central bank raised its rate."];
const SEARCH = [area("query", "Query", 2, "How do I keep my cat warm?"), area("documents", "Documents, one a line", 7, [
  "Cats like blankets near a radiator.", "The stock market closed early on Friday.", "In winter, a heated bed keeps old cats warm.",
  "Dogs need a walk twice a day."].join("\n"))];
const rank = {
  title: "Documents, the best first", verb: "Rank", fields: SEARCH,
  async ask(model, { query, documents }, signal) {
    need(query.trim(), "Write a query.");
    return post("v1/rerank", { model: model.id, query, documents: need(lines(documents), "Write at least one document."), return_documents: true }, signal);
  },
  show({ results }) {
    const scores = results.map(({ relevance_score: score }) => score);
    const least = Math.min(0, ...scores);
    const rows = results.map((row, at) => ({ name: `${at + 1}. ${row.document.text}`, score: row.relevance_score, long: true }));
    return scores.every((score) => score >= 0 && score <= 1) ? bars(rows) : shifted(rows, least, Math.max(...scores));
  },
};

/** Bars of scores that may be below zero: the least is an empty bar. */
function shifted(rows, least, most) {
  const list = bars(rows, most - least || 1);
  list.querySelectorAll(".fill").forEach((fill, at) => fill.style.setProperty("--part", (rows[at].score - least) / (most - least || 1)));
  return list;
}

export const TASKS = {
  "sentence-similarity": {
    title: "How alike the sentences are", verb: "Compare", fields: [area("texts", "Sentences, one a line", 7, CATS.join("\n"))],
    async ask(model, { texts }, signal) {
      return post("v1/embeddings", { model: model.id, input: need(lines(texts), "Write at least one sentence.") }, signal);
    },
    show({ data }, { texts }) {
      return [heatMap(lines(texts), cosines(data.map((row) => row.embedding)), "Similarities, a table"),
        note(`Cosines of vectors with ${data[0].embedding.length} values: 1 is the same direction.`)];
    },
  },
  "feature-extraction": {
    title: "How alike the tokens are", verb: "Compare", fields: [area("text", "Text", 3, "The bank of the river, and the bank with the money.")],
    async ask(model, { text }, signal) {
      need(text.trim(), "Write a text.");
      const answer = await post("embed_all", { model: model.id, inputs: text }, signal);
      const { value: [tokens] } = await post("tokenize", { model: model.id, inputs: text }, signal);
      return { ...answer, value: { vectors: answer.value[0].slice(0, MOST_TOKENS), tokens } };
    },
    show({ vectors, tokens }) {
      return [heatMap(tokens.slice(0, vectors.length).map((token) => token.text), cosines(vectors), "Similarities of tokens, a table"),
        note(`Cosines of the tokens' vectors${tokens.length > vectors.length ? `; the first ${vectors.length} are shown` : ""}.`)];
    },
  },
  "sparse-embedding": {
    title: "The heaviest tokens", verb: "Weigh", fields: [area("text", "Text", 4, "A kitten is lying on the rug.")],
    async ask(model, { text }, signal) {
      return post("embed_sparse", { model: model.id, inputs: need(text.trim(), "Write a text."), return_tokens: true }, signal);
    },
    show([weights]) {
      const heaviest = byScore(weights.map(({ token, index, value }) => ({ name: token ?? `#${index}`, score: value }))).slice(0, HEAVIEST);
      if (!heaviest.length) return note("No token of the vocabulary has a weight.");
      return [bars(heaviest, heaviest[0].score), note(`${weights.length} of the vocabulary's tokens ${weights.length === 1 ? "has" : "have"} a weight.`)];
    },
  },
  "text-ranking": rank,
  "late-interaction": { ...rank, title: "Documents, the best first by MaxSim" },
  "fill-mask": {
    title: "What fits the mask", verb: "Fill",
    fields: (model) => [area("text", `Text, with ${model.mask_token} for what is missing`, 3, `Paris is the ${model.mask_token} of France.`)],
    async ask(model, { text }, signal) {
      if (!text.includes(model.mask_token)) throw new Refusal(`Write ${model.mask_token} where a word is missing.`, 0);
      return post("fill-mask", { model: model.id, inputs: text, top_k: 8 }, signal);
    },
    show(found) {
      const masks = Array.isArray(found[0]) ? found : [found];
      return masks.map((guesses, at) => [masks.length > 1 ? element("h3", {}, `Mask ${at + 1}`) : [],
        bars(guesses.map(({ token_str: name, score }) => ({ name, score })), guesses[0].score)]).flat(2);
    },
  },
  "text-classification": {
    title: "Labels", verb: "Classify",
    fields: (model) => [area("text", "Text", 4, "I liked this film far more than I thought I would."),
      ...(entails(model) ? [area("labels", "Labels of your own, one a line (else the model's)", 3, "praise\nblame\nweather")] : [])],
    async ask(model, { text, labels = "" }, signal) {
      need(text.trim(), "Write a text.");
      const own = lines(labels);
      return own.length ? post("zero-shot", { model: model.id, inputs: text, candidate_labels: own }, signal)
        : post("predict", { model: model.id, inputs: text }, signal);
    },
    show(found) {
      const rows = Array.isArray(found) ? found.map(({ label: name, score }) => ({ name, score }))
        : found.labels.map((name, at) => ({ name, score: found.scores[at] }));
      return bars(rows.slice(0, HEAVIEST));
    },
  },
  "token-classification": {
    title: "Entities", verb: "Find", fields: [area("text", "Text", 4, "Angela Merkel was born in Hamburg and studied in Leipzig.")],
    async ask(model, { text }, signal) {
      return post("entities", { model: model.id, inputs: need(text, "Write a text.") }, signal);
    },
    show(entities, { text }) {
      const parts = entities.map((entity) => ({ ...entity, label: entity.entity_group }));
      return [marked(text, parts), note(entities.length ? `${entities.length} found.` : "None was found.")];
    },
  },
  "question-answering": {
    title: "The answer in its context", verb: "Ask",
    fields: [area("question", "Question", 2, "Where did the cat sleep?"), area("context", "Context", 6,
      "The old house had three rooms. The dog lay by the door, and the cat slept on the warm stove. Nobody came that day.")],
    async ask(model, { question, context }, signal) {
      need(question.trim(), "Write a question.");
      return post("answers", { model: model.id, inputs: { question, context: need(context, "Write the context that has the answer.") } }, signal);
    },
    show({ answer, score, start, end }, { context }) {
      return [element("p", { className: "answer" }, answer), marked(context, [{ start, end, score, label: "answer" }])];
    },
  },
  "next-sentence-prediction": {
    title: "Does it follow?", verb: "Judge", fields: [area("first", "First text", 2, "The cat sat on the mat."), area("second", "Second text", 2, "Then it fell asleep.")],
    async ask(model, { first, second }, signal) {
      return post("next-sentence", { model: model.id, inputs: { text: need(first, "Write the first text."), text_pair: need(second, "Write the second text.") } }, signal);
    },
    show: ({ score }) => bars([{ name: "follows", score }, { name: "does not", score: 1 - score }]),
  },
  "multiple-choice": {
    title: "What fits best", verb: "Choose",
    fields: [area("text", "Text", 2, "It began to rain, so she"), area("choices", "Choices, one a line", 4, "opened her umbrella.\nate the sun.\nswam home.")],
    async ask(model, { text, choices }, signal) {
      need(text.trim(), "Write a text.");
      return post("choices", { model: model.id, inputs: { text, choices: need(lines(choices), "Write at least one choice.") } }, signal);
    },
    show: ({ scores }, { choices }) => bars(byScore(lines(choices).map((name, at) => ({ name, score: scores[at], long: true })))),
  },
};

function entails(model) {
  return (model.labels ?? []).some((label) => label.toLowerCase().startsWith("entail"));
}
