/** Where addresses lie on the map: rows of cells, each region on rows of its own. */
import type { PageHeader, PageRegion } from "../src/view/contract.ts";

/** A region on the map. */
interface PlacedRegion extends PageRegion {
  /** Its first cell, counted through all regions. */
  readonly first: number;
  /** Its first place on the map: rows times columns. */
  readonly place: number;
}

/** The fewest cells of a row: a page of 4 KiB, of 64 bytes each. */
const FEWEST_COLUMNS = 64;
const MOST_COLUMNS = 8192;

/** Cells of the map have a place: row times columns plus column. */
export class Layout {
  readonly columns: number;
  readonly rows: number;
  readonly cellSize: number;
  readonly #regions: readonly PlacedRegion[];

  /** @param aspect width by height of what the map is shown in */
  constructor({ regions, cellSize }: PageHeader, aspect: number) {
    let [columns, largest] = [FEWEST_COLUMNS, 0];
    // Rows of whole pages, so many that cells are as large as they can be.
    for (let candidate = FEWEST_COLUMNS; candidate <= MOST_COLUMNS; candidate += FEWEST_COLUMNS) {
      const rows = regions.reduce((sum, { cells }) => sum + Math.ceil(cells / candidate) + 1, -1);
      const scale = Math.min(aspect / candidate, 1 / rows);
      if (scale > largest) [columns, largest] = [candidate, scale];
    }
    this.columns = columns;
    this.cellSize = cellSize;
    const placed: PlacedRegion[] = [];
    let first = 0;
    let row = 0;
    for (const region of regions) {
      placed.push({ ...region, first, place: row * columns });
      first += region.cells;
      // An empty row between two regions.
      row += Math.ceil(region.cells / columns) + 1;
    }
    this.#regions = placed;
    this.rows = Math.max(1, row - 1);
  }

  /** The place of a cell that is counted through all regions. */
  placeOfCell(cell: number): number {
    const region = this.#find((one) => one.first <= cell);
    return region === undefined ? 0 : region.place + cell - region.first;
  }

  /** The place that has an address; undefined where the map does not show it. */
  placeOfAddress(address: number): number | undefined {
    const region = this.#find((one) => one.start <= address);
    if (region === undefined) return undefined;
    const cell = Math.floor((address - region.start) / this.cellSize);
    return cell < region.cells ? region.place + cell : undefined;
  }

  /** The address at a place; undefined between regions. */
  addressOfPlace(place: number): number | undefined {
    const region = this.#find((one) => one.place <= place);
    if (region === undefined) return undefined;
    const cell = place - region.place;
    return cell < region.cells ? region.start + cell * this.cellSize : undefined;
  }

  /** The last region for which a condition holds that holds for all before it. */
  #find(holds: (region: PlacedRegion) => boolean): PlacedRegion | undefined {
    let low = -1;
    let high = this.#regions.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      const region = this.#regions[middle];
      if (region !== undefined && holds(region)) low = middle;
      else high = middle - 1;
    }
    return this.#regions[low];
  }
}
