// Keys of the review: Alt+A accept, Alt+R reject, Alt+G paint again; single letters are FiftyOne's own.
// Where a sample is open, the next one follows.
(() => {
  const KEYS = { KeyA: "accept", KeyR: "reject", KeyG: "repaint" };
  window.addEventListener(
    "keydown",
    async (event) => {
      const name = KEYS[event.code];
      if (!name || !event.altKey || event.ctrlKey || event.metaKey || event.repeat) return;
      event.preventDefault();
      event.stopPropagation();
      await window.__foo__.executeOperator(`@synthgen/review/${name}`, {});
      const next = document.querySelector('[data-cy="nav-right-button"]'); // an SVG
      next?.dispatchEvent(new MouseEvent("click", { bubbles: true }));
    },
    true,
  );
})();
