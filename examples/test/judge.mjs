// What transformers.js makes of an artifact, the same in Node and in a page, which give their modules.

/**
 * @param {object} checked the module checked.mjs
 * @param {object} transformers the module @huggingface/transformers
 * @param {{task: string, name: string, vectors: object, device: string, dtype: string, calls: object[][]}} job
 *   calls: arguments of the pipeline, once for each
 * @returns figures of `compare`, what is wrong with them (null: nothing), and what the pipeline gave for `calls`
 */
export async function judge(checked, transformers, { task, name, vectors, device, dtype, calls }) {
  const opened = await checked.withTransformers(transformers, task, name)({ device, dtype });
  const figures = await checked.compare(opened, vectors);
  const results = [];
  for (const call of calls) {
    const made = await opened.pipeline(...call);
    results.push(made.tolist?.() ?? made);
  }
  await opened.close();
  return { task, device, dtype, ...figures, wrong: checked.whyWrong(figures), results };
}
