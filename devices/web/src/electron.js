/**
 * Electron: the model runs in the main process, and pages call it through the preload script. A page has these calls and
 * nothing else.
 */
const CHANNEL = "edgerec";
const CALLS = ["recommend", "score", "similar", "observe", "forget"];

/**
 * In the main process: answer the pages.
 * @param {{handle: Function, removeHandler: Function}} ipcMain
 * @param {object} rec a `Recommender`
 * @returns {() => void} stops it
 */
export function answerPages(ipcMain, rec) {
  ipcMain.handle(CHANNEL, async (_event, method, ...args) => {
    if (!CALLS.includes(method)) return { error: { name: "ConfigError", message: `no call '${method}'` } };
    try {
      return { value: plain(await rec[method](...args)) };
    } catch (error) {
      // A thrown error would lose its name on the way.
      return { error: { name: error.name, message: error.message } };
    }
  });
  return () => ipcMain.removeHandler(CHANNEL);
}

/**
 * In the preload script: what `contextBridge.exposeInMainWorld("edgerec", ...)` takes.
 * @param {{invoke: (channel: string, ...args: unknown[]) => Promise<unknown>}} ipcRenderer
 */
export function askMain(ipcRenderer) {
  const ask = (method) => async (...args) => {
    const { value, error } = await ipcRenderer.invoke(CHANNEL, method, ...args);
    if (error !== undefined) throw Object.assign(new Error(error.message), { name: error.name });
    return value;
  };
  return Object.fromEntries(CALLS.map((method) => [method, ask(method)]));
}

/** As an object: arrays lose their properties on their way between processes. */
function plain(value) {
  if (!Array.isArray(value)) return value;
  const items = value.map((row) => ({ ...row, attributes: row.attributes }));
  return value.whyFewer === undefined ? items : { items, whyFewer: value.whyFewer, listName: value.listName };
}
