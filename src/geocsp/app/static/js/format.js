// Numbers and places in words.

/** A share in percent, with one digit more where it is small. */
export function percent(share) {
  const value = 100 * share;
  if (value === 0) return "0 %";
  if (value < 0.1) return "< 0.1 %";
  return `${value.toFixed(value < 9.95 ? 1 : 0)} %`;
}

/** [lon, lat] as "41.90° N, 12.50° E". */
export function placeName([lon, lat], digits = 2) {
  const part = (value, plus, minus) => {
    const size = Math.abs(value).toFixed(digits);
    return `${size}°${Number(size) === 0 ? "" : ` ${value > 0 ? plus : minus}`}`;
  };
  return `${part(lat, "N", "S")}, ${part(lon, "E", "W")}`;
}

/** Great-circle distance of two [lon, lat] in km. */
export function kilometres([lon1, lat1], [lon2, lat2]) {
  const radians = Math.PI / 180;
  const a =
    Math.sin(((lat2 - lat1) * radians) / 2) ** 2 +
    Math.cos(lat1 * radians) * Math.cos(lat2 * radians) * Math.sin(((lon2 - lon1) * radians) / 2) ** 2;
  return 2 * 6371.0088 * Math.asin(Math.min(1, Math.sqrt(a)));
}

export const distance = (km) => `${(km < 10 ? km.toFixed(1) : Math.round(km).toLocaleString("en"))} km`;

export const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)} MB`;

/** Longitude in [-180, 180). */
export const wrapLon = (lon) => ((((lon + 180) % 360) + 360) % 360) - 180;

/** A number for a legend: few digits, no exponent where it can be avoided. */
export function short(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size < 0.001 || size >= 1e5 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
}
