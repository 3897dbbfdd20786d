// Runs before the first paint, so that a chosen theme does not flash. Classic script on purpose.
try {
  const theme = localStorage.getItem("geocsp-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // no storage: the system's colours are used
}
