// The page: a model, what is typed for its task, and what it answers.
import { get, useKey } from "./api.js";
import { TASKS } from "./tasks.js";
import { element } from "./views.js";

const at = (id) => document.getElementById(id);
const models = new Map();
const typed = {}; // what was typed, by task and field: it stays when the model changes
let running = new AbortController();

/** Ask for the models; where a key is needed, show its field. */
async function begin() {
  try {
    const { data } = await get("v1/models");
    data.filter(({ task }) => task in TASKS).forEach((model) => models.set(model.id, model));
  } catch (error) {
    at("key-form").hidden = error.status !== 401;
    return complain(error);
  }
  at("key-form").hidden = true;
  at("model").replaceChildren(...[...models.values()].map(({ id }) => element("option", { value: id }, id)));
  choose();
}

/** Show the fields of the chosen model, and run it on them. */
function choose() {
  const model = models.get(at("model").value);
  const { title, verb, fields } = TASKS[model.task];
  at("about").textContent = `${model.task} · reads ${model.max_length} tokens`;
  at("title").textContent = title;
  at("run").textContent = verb;
  at("run").disabled = false;
  const shown = typeof fields === "function" ? fields(model) : fields;
  at("fields").replaceChildren(...shown.map(({ name, label, rows, value }) => element("div", { className: "field" },
    element("label", { htmlFor: name }, label),
    element("textarea", { id: name, name, rows, value: typed[model.task]?.[name] ?? value }))));
  run();
}

/** Ask the model, and show its answer; of several questions only the last one's. */
async function run() {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const model = models.get(at("model").value);
  const task = TASKS[model.task];
  const values = typed[model.task] = Object.fromEntries(new FormData(at("form")));
  at("result").ariaBusy = "true";
  try {
    const answer = await task.ask(model, values, signal);
    if (signal.aborted) return;
    at("result").replaceChildren(...[task.show(answer.value, values)].flat());
    at("figures").textContent = figures(answer, model);
    at("figures").classList.toggle("cut", answer.cut > 0);
  } catch (error) {
    if (error.name !== "AbortError") complain(error);
  } finally {
    if (!signal.aborted) at("result").ariaBusy = "false";
  }
}

function figures({ milliseconds, tokens, cut }, model) {
  const few = cut === 1 ? "1 text was cut" : `${cut} texts were cut`;
  const said = cut ? `${few}: this model reads ${model.max_length} tokens.` : "Nothing was cut.";
  return `${milliseconds.toFixed(1)} ms · ${tokens} tokens · ${said}`;
}

function complain(error) {
  at("result").replaceChildren(element("p", { className: "error", role: "alert" }, error.message));
  at("figures").textContent = "";
}

at("model").addEventListener("change", choose);
at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
at("form").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("form").requestSubmit();
});
at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(at("key").value.trim());
  begin();
});
begin();
