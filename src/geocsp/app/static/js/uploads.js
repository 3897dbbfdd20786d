// A queue of photos: a few at a time, each in its own request, all of them stoppable.

import * as api from "./api.js";

const AT_ONCE = 2;

export class Uploads {
  #waiting = [];
  #running = new Set();
  #done = 0;
  #all = 0;

  /** `changed` is called with {done, all} whenever the numbers change. */
  constructor(changed) {
    this.changed = changed;
  }

  /** Queue a photo; resolves to the answer, rejects with a ServerError or, if stopped, an AbortError. */
  send(file, lonlat) {
    if (this.#done === this.#all) this.#done = this.#all = 0;
    this.#all += 1;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ file, lonlat, resolve, reject, control: new AbortController() });
      this.#next();
    });
  }

  /** Stop what runs and forget what waits. */
  stop() {
    const waiting = this.#waiting.splice(0);
    for (const job of waiting) job.reject(new DOMException("stopped", "AbortError"));
    this.#done += waiting.length;
    for (const job of this.#running) job.control.abort();
    this.#tell();
  }

  async #next() {
    this.#tell();
    if (this.#running.size >= AT_ONCE || !this.#waiting.length) return;
    const job = this.#waiting.shift();
    this.#running.add(job);
    await api.photo(job.file, job.lonlat, job.control.signal).then(job.resolve, job.reject);
    this.#running.delete(job);
    this.#done += 1;
    this.#next();
  }

  #tell() {
    this.changed({ done: this.#done, all: this.#all });
  }
}
