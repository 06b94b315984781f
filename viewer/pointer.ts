/** The map under mouse, fingers and keys. */
import type { HeapMap } from "./map.ts";

/** Pixels that a press may move and still be a click. */
const CLICK_SLACK = 5;
const KEY_STEP = 60;
const KEY_ZOOM = 1.5;

/** What happens on the map. */
export interface MapListener {
  /** A place was clicked. */
  clicked(place: number): void;
  /** The pointer is over a place; undefined: over none. */
  hovered(place: number | undefined): void;
  /** The next (1) or the previous (-1) piece is asked for. */
  stepped(by: 1 | -1): void;
}

/** Lets a canvas be moved, zoomed and clicked. */
export function listenToMap(canvas: HTMLCanvasElement, map: HeapMap, listener: MapListener): void {
  const { camera } = map;
  const fingers = new Map<number, { x: number; y: number }>();
  let moved = 0;

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    if (fingers.size === 1) moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = [event.offsetX, event.offsetY];
    const finger = fingers.get(event.pointerId);
    if (finger === undefined) {
      listener.hovered(map.placeAt(x, y));
      return;
    }
    const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
    if (other !== undefined) {
      const before = Math.hypot(finger.x - other.x, finger.y - other.y);
      const now = Math.hypot(x - other.x, y - other.y);
      if (before > 0) camera.zoom(now / before, (x + other.x) / 2, (y + other.y) / 2);
    }
    camera.pan((x - finger.x) / fingers.size, (y - finger.y) / fingers.size);
    moved += Math.hypot(x - finger.x, y - finger.y);
    finger.x = x;
    finger.y = y;
    map.draw();
  });
  const release = (event: PointerEvent): void => {
    const wasDown = fingers.delete(event.pointerId);
    if (!wasDown || event.type !== "pointerup" || moved > CLICK_SLACK || fingers.size > 0) return;
    const place = map.placeAt(event.offsetX, event.offsetY);
    if (place !== undefined) listener.clicked(place);
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => listener.hovered(undefined));
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      camera.zoom(Math.exp(-event.deltaY / 300), event.offsetX, event.offsetY);
      map.draw();
    },
    { passive: false },
  );

  const keys: Readonly<Record<string, () => void>> = {
    ArrowLeft: () => camera.pan(KEY_STEP, 0),
    ArrowRight: () => camera.pan(-KEY_STEP, 0),
    ArrowUp: () => camera.pan(0, KEY_STEP),
    ArrowDown: () => camera.pan(0, -KEY_STEP),
    "+": () => camera.zoom(KEY_ZOOM),
    "=": () => camera.zoom(KEY_ZOOM),
    "-": () => camera.zoom(1 / KEY_ZOOM),
    "0": () => camera.fit(),
    n: () => listener.stepped(1),
    p: () => listener.stepped(-1),
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = keys[event.key] ?? keys[event.key.toLowerCase()];
    if (act === undefined) return;
    event.preventDefault();
    act();
    map.draw();
  });
}
