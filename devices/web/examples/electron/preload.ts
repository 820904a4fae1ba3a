/** Gives the page the recommender's calls and nothing else. */
import { contextBridge, ipcRenderer } from "electron";
import { askMain } from "edgerec/electron";

contextBridge.exposeInMainWorld("edgerec", askMain(ipcRenderer));
