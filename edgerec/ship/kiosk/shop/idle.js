/** A visitor who left: asked whether they are still there, then erased, and the attracting screen shows. */

/** Seconds in which "Are you still there?" can be answered. */
const ASKED_S = 10;

/**
 * @param {number} seconds of no touch; 0: never @param {{asking: () => boolean, ask: () => void, unask: () => void, leave: () => void}} what
 */
export function watch(seconds, { asking, ask, unask, leave }) {
  if (seconds === 0) return;
  let timer;
  const wake = () => {
    clearTimeout(timer);
    unask();
    const warned = seconds > 2 * ASKED_S ? ASKED_S : Math.min(1, seconds / 2);
    timer = setTimeout(() => {
      if (asking()) ask();
      timer = setTimeout(leave, warned * 1000);
    }, (seconds - warned) * 1000);
  };
  for (const kind of ["pointerdown", "keydown", "wheel", "touchmove"]) document.addEventListener(kind, wake, { passive: true, capture: true });
  wake();
}
