/** The API grouped by what a program wants to do. The text is that of the docstrings. */
import { anchorOf, firstSentence } from "./markdown.ts";
import { memberPlace, membersOf, referencePage, summaryOf, type Reflection } from "./reflection.ts";

/** A task, and the names that serve it: `toFunction`, `JitAllocator.alloc`. */
export interface Task {
  readonly title: string;
  readonly names: readonly string[];
}

/** Every export has its place here; a member stands with the task that names it, else behind its class. */
export const tasks: readonly Task[] = [
  {
    title: "Making an allocator",
    names: [
      "JitAllocator",
      "JitAllocatorOptions",
      "ResolvedJitAllocatorOptions",
      "BooleanOption",
      "preload",
      "JitAllocator.options",
      "JitAllocator.hasOption",
      "JitAllocator.reset",
      "JitAllocator.dispose",
    ],
  },
  {
    title: "Adding code in one step",
    names: ["JitRuntime", "CodeInfo", "CodeSymbol"],
  },
  {
    title: "Allocating and releasing",
    names: [
      "JitAllocator.alloc",
      "JitAllocator.allocAddress",
      "JitAllocator.shrink",
      "JitAllocator.release",
      "Span",
      "SpanInfo",
      "SpanKind",
      "SpanJson",
      "Address",
    ],
  },
  {
    title: "Writing code",
    names: [
      "JitAllocator.write",
      "Span.write",
      "Span.read",
      "JitAllocator.writeScope",
      "WriteScope",
      "CachePolicy",
    ],
  },
  {
    title: "Calling code",
    names: [
      "toFunction",
      "signature",
      "FunctionOptions",
      "Signature",
      "ParameterType",
      "ResultType",
      "ArgumentsOf",
      "ResultOf",
      "NativeValues",
      "TypedFunction",
    ],
  },
  {
    title: "Letting code call TypeScript, and libraries",
    names: [
      "toPointer",
      "NativeCallback",
      "CallbackSignature",
      "CallbackArguments",
      "ReceivedValue",
      "nativeSymbol",
    ],
  },
  {
    title: "Linking code to code and data",
    names: [
      "JitAllocator.module",
      "ModuleBuilder",
      "ModulePart",
      "PartInfo",
      "JitModule",
      "JitAllocator.veneer",
      "Veneer",
      "Span.patch",
    ],
  },
  {
    title: "Ending code that may be running",
    names: [
      "CodeLifetimes",
      "JitAllocator.retire",
      "JitAllocator.enter",
      "JitAllocator.leave",
      "Span.retire",
    ],
  },
  {
    title: "Finding code by its address",
    names: [
      "JitAllocator.query",
      "JitAllocator.queryAddress",
      "JitAllocator.nameOf",
      "JitRuntime.codeOf",
      "PublishedCode",
      "JitAllocator.range",
      "JitAllocator.reaches",
      "CodeRange",
    ],
  },
  {
    title: "Sharing with threads",
    names: [
      "JitAllocator.share",
      "JitAllocator.attach",
      "JitAllocator.detach",
      "SharedAllocator",
      "JitAllocator.spanOf",
      "Span.token",
      "SpanToken",
      "JitAllocator.memberId",
      "SharingThreads",
      "JitAllocator.members",
      "MemberInfo",
      "JitAllocator.allocationsOf",
      "JitAllocator.releaseAllOf",
      "JitAllocator.adopt",
    ],
  },
  {
    title: "Looking at memory",
    names: [
      "JitAllocator.statistics",
      "Statistics",
      "JitAllocator.blocks",
      "BlockInfo",
      "KindStatistics",
      "JitAllocator.snapshot",
      "JitAllocator.record",
      "TraceSink",
      "HeapObservation",
      "SnapshotOptions",
      "HeapSnapshot",
      "SnapshotBlock",
      "SnapshotSpan",
      "JitAllocator.verify",
      "JitDiagnostics",
      "DiagnosticBlock",
    ],
  },
  {
    title: "Debugging and profiling",
    names: ["announce", "AnnounceOptions", "Announcement"],
  },
  {
    title: "Reading machine code",
    names: [
      "disassemble",
      "formatInstructions",
      "Instruction",
      "DecodedInstruction",
      "InstructionDecoder",
      "CodeBytes",
      "DisassemblyOptions",
      "ListingOptions",
    ],
  },
  {
    title: "Errors",
    names: ["JitError", "JitErrorCode", "JitErrorJson", "SystemFailure"],
  },
  {
    title: "Mapping memory yourself",
    names: ["VirtMem", "DualMapping", "HardenedRuntimeInfo", "MemoryFlags", "MemoryInfo"],
  },
];

/** A name of the API, where it is explained, and in one sentence how. */
export interface Entry {
  readonly name: string;
  /** Below `api/`, with an anchor for a member. */
  readonly place: string;
  readonly summary: string;
}

export interface TaskEntries {
  readonly title: string;
  readonly entries: readonly Entry[];
}

/**
 * The entries of each task.
 *
 * @param api what typedoc says of the package
 * @throws Error where an export has no task, or a task names what does not exist
 */
export function entriesByTask(api: Reflection, grouping: readonly Task[] = tasks): readonly TaskEntries[] {
  const exports = new Map((api.children ?? []).map((reflection) => [reflection.name, reflection]));
  const named = grouping.flatMap(({ names }) => names);
  const homeless = [...exports.keys()].filter((name) => !named.includes(name));
  if (homeless.length > 0) {
    throw new Error(
      `site/tasks.ts names no task for ${homeless.join(", ")}: say what a program wants it for`,
    );
  }
  const entriesOf = (name: string): readonly Entry[] => {
    const [exported = "", ...rest] = name.split(".");
    const reflection = exports.get(exported);
    if (reflection === undefined)
      throw new Error(`site/tasks.ts names ${name}, which the package does not export`);
    const members = membersOf(reflection);
    if (rest.length === 0) {
      const others = members.filter((member) => !named.includes(`${name}.${member.name}`));
      return [
        { name, place: referencePage(reflection), summary: firstSentence(summaryOf(reflection)) },
        ...others.map((member) => memberEntry(reflection, member)),
      ];
    }
    const member = members.find((candidate) => candidate.name === rest.join("."));
    if (member === undefined) throw new Error(`site/tasks.ts names ${name}, which does not exist`);
    return [memberEntry(reflection, member)];
  };
  return grouping.map(({ title, names }) => ({ title, entries: names.flatMap(entriesOf) }));
}

function memberEntry(parent: Reflection, member: Reflection): Entry {
  return {
    name: `${parent.name}.${member.name}`,
    place: memberPlace(parent, member, anchorOf(member.name)),
    summary: firstSentence(summaryOf(member)),
  };
}

/** The page that the API begins with: a list for each task. */
export function taskPage(groups: readonly TaskEntries[]): string {
  const sections = groups.map(({ title, entries }) => {
    const lines = entries.map(({ name, place, summary }) => `- [\`${name}\`](./${place}): ${summary}`);
    return `## ${title}\n\n${lines.join("\n")}`;
  });
  return `# The API by task\n\nEvery name leads to its full description.\n\n${sections.join("\n\n")}\n`;
}
