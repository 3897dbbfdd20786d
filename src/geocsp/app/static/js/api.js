// The server's API. Every failure becomes a ServerError with one line that a person can read.

export class ServerError extends Error {}

export const isAbort = (error) => error.name === "AbortError";

const ABSENT = "The server does not answer. Is geocsp app still running?";

/** A query string of the values that are given. */
export function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== null && value !== undefined);
  const text = new URLSearchParams(given).toString();
  return text && `?${text}`;
}

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new ServerError(ABSENT);
  }
  const answer = await response.json().catch((error) => {
    if (isAbort(error)) throw error;
    return null;
  });
  if (!response.ok) throw new ServerError(reason(answer) ?? `The server answered ${response.status}.`);
  if (answer === null) throw new ServerError("The server's answer cannot be read.");
  return answer;
}

function reason(answer) {
  const detail = answer?.detail;
  if (typeof detail === "string") return detail;
  if (!Array.isArray(detail)) return null;
  return detail.map(({ loc, msg }) => `${loc?.at(-1) ?? "request"}: ${msg}`).join("; ");
}

export const info = () => ask("api/info");

export const legend = (layer, className) =>
  ask(`api/legend/${layer}${query({ class: layer === "class" ? className : null })}`);

export const place = ([lon, lat], signal) => ask(`api/place${query({ lon, lat, count: 10 })}`, { signal });

export const similar = ([lon, lat], signal) =>
  ask(`api/similar${query({ lon, lat, count: 10 })}`, { signal });

export const land = (detail) => ask(`api/land${query({ detail })}`);

export const report = () => ask("api/report");

export function photo(file, lonlat, signal) {
  const body = new FormData();
  body.append("photo", file, file.name);
  if (lonlat) {
    body.append("lon", lonlat[0]);
    body.append("lat", lonlat[1]);
  }
  return ask("api/photos", { method: "POST", body, signal });
}

/** Address of a layer's tiles, with {z}, {x} and {y} left for the map to fill. */
export function tiles(layer, className, lonlat) {
  const values =
    layer === "class"
      ? { class: className }
      : layer === "similar"
        ? { lon: lonlat[0], lat: lonlat[1] }
        : {};
  const base = new URL(`api/tiles/${layer}/`, document.baseURI);
  return `${base}{z}/{x}/{y}.png${query(values)}`;
}
