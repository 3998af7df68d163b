// Keys of the review: Alt+A accept, Alt+R reject, Alt+G paint again; Alt+Shift+R asks for the
// reason first, Alt+C for the class. Single letters are FiftyOne's own.
// Where a sample is open, the next one follows a verdict.
(() => {
  const KEYS = { KeyA: "accept", KeyR: "reject", KeyG: "repaint", KeyC: "fix_class" };
  const PROMPT = "@voxel51/operators/prompt_user_for_operation";
  window.addEventListener(
    "keydown",
    async (event) => {
      const name = KEYS[event.code];
      if (!name || !event.altKey || event.ctrlKey || event.metaKey || event.repeat) return;
      event.preventDefault();
      event.stopPropagation();
      const uri = `@synthgen/review/${name}`;
      if (event.code === "KeyC" || (event.code === "KeyR" && event.shiftKey)) {
        await window.__foo__.executeOperator(PROMPT, { operator_uri: uri, params: {} });
        return;
      }
      await window.__foo__.executeOperator(uri, {});
      const next = document.querySelector('[data-cy="nav-right-button"]'); // an SVG
      next?.dispatchEvent(new MouseEvent("click", { bubbles: true }));
    },
    true,
  );
})();
