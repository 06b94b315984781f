/** Which part of the map is seen, and how large. */

const LARGEST_SCALE = 64;

/** Cells are squares of `scale` pixels; `x` and `y` are the cell coordinates at the left and upper edge. */
export class Camera {
  scale = 1;
  x = 0;
  y = 0;
  #width = 1;
  #height = 1;
  #columns = 1;
  #rows = 1;
  /** Whether nobody has moved it since it showed everything. */
  isFitted = true;

  /** The map's cells, and the pixels that it is shown in. */
  setSizes(columns: number, rows: number, width: number, height: number): void {
    this.#columns = columns;
    this.#rows = rows;
    this.#width = width;
    this.#height = height;
    if (this.isFitted) this.fit();
    else this.#clamp();
  }

  get #fittingScale(): number {
    return Math.min(this.#width / this.#columns, this.#height / this.#rows, LARGEST_SCALE / 2);
  }

  /** Shows everything. */
  fit(): void {
    this.scale = this.#fittingScale;
    this.isFitted = true;
    this.#clamp();
  }

  /** Zooms by a factor; the point at these pixels stays where it is. */
  zoom(factor: number, pixelX = this.#width / 2, pixelY = this.#height / 2): void {
    const scale = Math.min(LARGEST_SCALE, Math.max(this.#fittingScale, this.scale * factor));
    this.x += pixelX / this.scale - pixelX / scale;
    this.y += pixelY / this.scale - pixelY / scale;
    this.scale = scale;
    this.isFitted = scale === this.#fittingScale;
    this.#clamp();
  }

  /** Moves what is seen by so many pixels. */
  pan(pixelsX: number, pixelsY: number): void {
    this.x -= pixelsX / this.scale;
    this.y -= pixelsY / this.scale;
    this.#clamp();
  }

  /** Brings cells into view: from one to another of a row or of some. */
  show(column: number, row: number, columns: number, rows: number): void {
    const wanted = Math.min(24, this.#width / (columns + 4), this.#height / (rows + 4));
    if (this.scale < wanted && this.scale < 8) {
      this.scale = Math.max(wanted, this.#fittingScale);
      this.isFitted = false;
    }
    const [width, height] = [this.#width / this.scale, this.#height / this.scale];
    const isSeen =
      column >= this.x &&
      column + columns <= this.x + width &&
      row >= this.y &&
      row + rows <= this.y + height;
    if (!isSeen) {
      this.x = column + columns / 2 - width / 2;
      this.y = row + rows / 2 - height / 2;
    }
    this.#clamp();
  }

  /** What does not fill the view is in its middle; the rest does not go beyond its edges. */
  #clamp(): void {
    this.x = clamped(this.x, this.#columns, this.#width / this.scale);
    this.y = clamped(this.y, this.#rows, this.#height / this.scale);
  }
}

function clamped(at: number, all: number, seen: number): number {
  return all <= seen ? (all - seen) / 2 : Math.min(Math.max(0, at), all - seen);
}
