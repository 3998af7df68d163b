// Keys of the review: Alt+A accept, Alt+R reject, Alt+G paint again; single letters are FiftyOne's own.
(() => {
  const KEYS = { KeyA: "accept", KeyR: "reject", KeyG: "repaint" };
  window.addEventListener(
    "keydown",
    (event) => {
      const name = KEYS[event.code];
      if (!name || !event.altKey || event.ctrlKey || event.metaKey || event.repeat) return;
      event.preventDefault();
      event.stopPropagation();
      window.__foo__.executeOperator(`@synthgen/review/${name}`, {});
    },
    true,
  );
})();
