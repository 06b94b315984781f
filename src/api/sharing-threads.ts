/** What an allocator tells of the threads that share it, and does with what they left. */
import type { Engine } from "../engine/engine.ts";
import type { SharedEngine } from "../sharing/shared-engine.ts";
import type { Address } from "../ffi/contract.ts";
import { withMember, type MemberInfo, type Membership } from "../sharing/membership.ts";
import { CodeLifetimes } from "./lifetimes.ts";

/** The part of `JitAllocator` that is about the threads which share it. */
export abstract class SharingThreads extends CodeLifetimes {
  readonly #membership: () => Membership | undefined;

  /**
   * @internal
   * @param membership the part of this thread; undefined where the allocator is not shared
   */
  constructor(operations: () => Engine | SharedEngine, membership: () => Membership | undefined) {
    super(operations);
    this.#membership = membership;
  }

  /**
   * Lists every thread that shares the allocator or has shared it; none where it is not shared. The list ends with the
   * estate, number 0, where ended threads left allocations and other threads have their numbers now.
   */
  members(): MemberInfo[] {
    return this.#membership()?.list() ?? [];
  }

  /**
   * Lists the start address (rx) of each live allocation that a thread, running or ended, made or adopted.
   *
   * A number is reused after all 1,023 have been given, first those of ended threads that left nothing. Where there is none,
   * the allocations of the thread whose number is reused go to the estate, number 0.
   *
   * @param memberId the thread's `memberId`, or 0 for the estate
   * @throws JitError `ERR_INVALID_ARGUMENT` where no thread has, or had, that number, or the allocator is not shared
   */
  allocationsOf(memberId: number): Address[] {
    return withMember(this.#membership(), memberId).allocationsOf(memberId);
  }

  /**
   * Releases every allocation that {@link allocationsOf} lists. Returns their number.
   *
   * Where the system refuses to unmap a block, the last allocation in it stays as it was and all others are released. The
   * error then says how many were; call again for the rest.
   *
   * @throws JitError as {@link allocationsOf}; the system's refusal to unmap a block
   */
  releaseAllOf(memberId: number): number {
    return withMember(this.#membership(), memberId).releaseAllOf(memberId);
  }

  /**
   * Makes every allocation that {@link allocationsOf} lists this thread's, and returns their number. From then on they
   * count as allocated by this thread; nothing else changes. For code of an ended worker that other threads go on using.
   *
   * @param memberId the `memberId` of a thread that has ended or detached, or 0 for the estate
   * @throws JitError as {@link allocationsOf}; `ERR_INVALID_ARGUMENT` where that thread has neither ended nor detached
   * @example
   * ```ts
   * allocator.share();
   * for (const { id, hasLeft } of allocator.members()) if (hasLeft) allocator.adopt(id);
   * ```
   */
  adopt(memberId: number): number {
    return withMember(this.#membership(), memberId).adopt(memberId);
  }
}
