//! Taking all sources of one run, in order, into one tree.

use std::sync::Arc;
use std::time::Duration;

use crate::chunker::Chunker;
use crate::clock::Timestamp;
use crate::filesystem::{FileSystems, LeftOutCounts, Owners};
use crate::format::snapshot::{self as format, Snapshot};
use crate::format::tree::{self, Node, NodeKind};
use crate::id::SnapshotId;
use crate::monitor::{Monitor, Phase, Problem, Stop};
use crate::repository::RepositoryError;
use crate::repository::writer::{Of, PieceCutter, PiecesOf, Writer};
use crate::snapshot::directory::{self, Context, Taken as TakenDirectory};
use crate::snapshot::files::Workshop;
use crate::snapshot::pending::PendingStates;
use crate::snapshot::stream::{Sink, StreamPlan};
use crate::snapshot::{Counts, Reasons, SnapshotError, SnapshotOptions, SourceStatus, SourceSummary, folder, warnings};
use crate::source::{self, DirectorySource, Source, SourceError, SourceKind, StreamEnd, StreamSource};

/// Everything read and stored; only the commit is left.
pub(super) struct Taken {
    pub snapshot: Snapshot,
    pub counts: Counts,
    pub reasons: Reasons,
    pub sources: Vec<SourceSummary>,
}

/// Mistakes that can be seen before anything is read.
pub(super) fn check(sources: &[Source]) -> Result<(), SnapshotError> {
    if sources.is_empty() {
        return Err(SnapshotError::Sources("there is nothing to take a snapshot of: name a source".to_owned()));
    }
    if sources.len() > crate::format::limits::SOURCES_MAX {
        return Err(SnapshotError::Sources(format!("a snapshot has at most {} sources", crate::format::limits::SOURCES_MAX)));
    }
    source::check_sources(sources).map_err(|error| SnapshotError::Sources(error.to_string()))
}

struct Run<'a> {
    writer: &'a mut Writer,
    options: &'a SnapshotOptions,
    monitor: &'a dyn Monitor,
    stop: &'a Stop,
    start: Timestamp,
    workshop: Arc<Workshop>,
    pending: PendingStates,
    file_systems: FileSystems,
    counts: Counts,
    reasons: Reasons,
}

/// One source stored.
struct Part {
    node: Option<Node>,
    status: SourceStatus,
    bytes: u64,
    streams: Vec<format::Stream>,
    facts: Vec<(String, String)>,
    warnings: Vec<String>,
    left_out: LeftOutCounts,
    used_patterns: Vec<String>,
}

/// Takes every source; any error means that nothing is to be committed.
pub(super) fn all(
    writer: &mut Writer,
    mut sources: Vec<Source>,
    options: &SnapshotOptions,
    monitor: &Arc<dyn Monitor>,
    stop: &Stop,
) -> Result<Taken, SnapshotError> {
    let repository = Arc::clone(writer.repository());
    let clock = Arc::clone(repository.clock());
    let start = clock.now();
    let workshop = Arc::new(Workshop {
        namer: repository.namer(),
        chunker: Chunker::new(&repository.cut_key()),
        sizes: repository.sizes_of_files(),
        owners: Arc::new(Owners::new()),
        pieces: None,
    });
    let mut run = Run {
        writer,
        options,
        monitor: &**monitor,
        stop,
        start,
        workshop,
        pending: PendingStates::default(),
        file_systems: FileSystems::new(),
        counts: Counts::default(),
        reasons: Reasons::default(),
    };
    let (items, bytes) = run.expected();
    run.monitor.begin(Phase::Backup, items, bytes);
    // A database refers to files by name: files captured after it can only be a superset.
    sources.sort_by_key(|source| order(source.kind()));
    let (mut parts, mut summaries, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    for source in sources {
        let (name, kind, optional) = (source.name().to_owned(), source.kind(), source.optional());
        let original = match &source {
            Source::Directory(directory) => std::path::absolute(&directory.path).ok(),
            Source::Stream(_) => None,
        };
        let (begun, at) = (clock.now(), clock.monotonic());
        run.writer.begin_source()?;
        let part = run.source(source, optional)?;
        let duration: Duration = clock.monotonic().saturating_sub(at);
        summaries.push(SourceSummary {
            name: name.clone(),
            kind,
            status: part.status,
            bytes: part.bytes,
            duration,
            warnings: part.warnings.clone(),
            left_out: part.left_out,
            used_patterns: part.used_patterns,
        });
        let mut entry = format::SourceEntry {
            name: name.clone(),
            kind: kind.as_str().to_owned(),
            path: if part.node.is_some() { name.clone().into_bytes() } else { Vec::new() },
            start: begun,
            end: clock.now(),
            status: match part.status {
                SourceStatus::Ok => format::SourceStatus::Ok,
                SourceStatus::OptionalFailed => format::SourceStatus::OptionalFailed,
                SourceStatus::WithoutStatus => format::SourceStatus::EndedWithoutStatus,
            },
            streams: part.streams,
            facts: warnings::record(part.facts, &part.warnings),
            extra: Vec::new(),
        };
        if let Some(original) = original {
            entry.keep_original_path(&original);
        }
        entries.push(entry);
        parts.extend(part.node);
    }
    parts.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let mut encoded = Vec::with_capacity(parts.len());
    for node in parts {
        encoded.push((node.name.clone(), tree::encode_node(&node)?));
    }
    let root = folder::store(run.writer, encoded.iter().map(|(name, node)| (name.as_slice(), node.as_slice())))?;
    run.writer.flush()?;
    run.remember()?;
    let run_id = run.writer.snapshot_id().unwrap_or(SnapshotId([0; 16]));
    let Run { counts, reasons, .. } = run;
    let mut tags = options.tags.clone();
    tags.sort_unstable();
    tags.dedup();
    let snapshot = Snapshot {
        id: run_id,
        time: start,
        host: options.host.clone(),
        user: options.user.clone(),
        program: options.program.clone(),
        tags,
        root: root.content,
        previous: repository.last_commit(),
        totals: format::Totals { entries: counts.entries(), files: counts.files(), bytes: counts.bytes },
        incomplete: reasons.lines(),
        sources: entries,
        extra: Vec::new(),
    };
    Ok(Taken { snapshot, counts, reasons, sources: summaries })
}

fn order(kind: SourceKind) -> u8 {
    match kind {
        SourceKind::Postgres => 0,
        SourceKind::Redis => 1,
        SourceKind::Command => 2,
        SourceKind::Stdin => 3,
        SourceKind::Directory | SourceKind::File => 4,
    }
}

impl Run<'_> {
    fn source(&mut self, source: Source, optional: bool) -> Result<Part, SnapshotError> {
        let (name, kind) = (source.name().to_owned(), source.kind());
        self.monitor.note(&format!("source {name} ({})", kind.as_str()));
        let taken = match self.before(&name) {
            Err(reason) => Err(SnapshotError::HookFailed { name: name.clone(), reason }),
            Ok(()) => match source {
                Source::Directory(directory) => self.directory(&directory),
                Source::Stream(mut stream) => self.streams(&mut *stream),
            },
        };
        if let Some(around) = &self.options.around {
            around.after(&name, taken.as_ref().err().map(ToString::to_string).as_deref());
        }
        match taken {
            Ok(part) => Ok(part),
            Err(error) if error.is_stop() || self.stop.requested() => Err(SnapshotError::Repository(RepositoryError::Stopped)),
            Err(SnapshotError::SourceFailed { reason, .. } | SnapshotError::HookFailed { reason, .. }) if optional => {
                self.reasons.add(name.as_bytes(), &reason);
                let detail = format!("optional source failed and is not in the snapshot: {reason}");
                self.monitor.problem(Problem { subject: name.into_bytes(), detail });
                Ok(Part {
                    node: None,
                    status: SourceStatus::OptionalFailed,
                    bytes: 0,
                    streams: Vec::new(),
                    facts: vec![("error".to_owned(), reason)],
                    warnings: Vec::new(),
                    left_out: LeftOutCounts::default(),
                    used_patterns: Vec::new(),
                })
            }
            Err(SnapshotError::SourceFailed { reason, .. }) => Err(SnapshotError::SourceFailed { name, kind: Some(kind), reason }),
            Err(error) => Err(error),
        }
    }

    fn begin_pieces(&mut self, of: Of, source: &str, stream: &str) -> Result<PieceCutter, SnapshotError> {
        let compose = !self.options.no_compose;
        Ok(self.writer.begin_pieces(PiecesOf { of, host: &self.options.host, source, stream, compose })?)
    }

    fn before(&self, name: &str) -> Result<(), String> {
        self.options.around.as_ref().map_or(Ok(()), |around| around.before(name, self.stop))
    }

    fn directory(&mut self, source: &DirectorySource) -> Result<Part, SnapshotError> {
        source.check()?;
        let skip = self.never();
        let pieces = self.begin_pieces(Of::Files, &source.name, "")?;
        let context = Context {
            writer: &mut *self.writer,
            workshop: Arc::new(Workshop { pieces: Some(pieces), ..Workshop::clone(&self.workshop) }),
            host: &self.options.host,
            start: self.start,
            force: self.options.force,
            pending: &mut self.pending,
            counts: &mut self.counts,
            reasons: &mut self.reasons,
            file_systems: &mut self.file_systems,
            monitor: self.monitor,
            stop: self.stop,
        };
        let taken = match directory::take(context, source, skip) {
            // A folder that cannot be walked at all is a source that failed.
            Err(SnapshotError::Scan(error)) => {
                return Err(SnapshotError::SourceFailed { name: source.name.clone(), kind: None, reason: error.to_string() });
            }
            other => other?,
        };
        self.writer.end_pieces()?;
        let TakenDirectory { node, bytes, facts, warnings, left_out, used_patterns } = taken;
        if left_out.total() > 0 {
            self.monitor.note(&format!("source {}: left out {left_out}", source.name));
        }
        let warnings = warnings::gathered(source.warnings.iter().cloned().chain(warnings));
        Ok(Part {
            node: Some(node),
            status: SourceStatus::Ok,
            bytes,
            streams: Vec::new(),
            facts,
            warnings,
            left_out,
            used_patterns,
        })
    }

    fn streams(&mut self, source: &mut dyn StreamSource) -> Result<Part, SnapshotError> {
        let name = source.name().to_owned();
        let paths = source.prepare(self.stop)?;
        let mut files = Vec::new();
        let mut part = Part {
            node: None,
            status: SourceStatus::Ok,
            bytes: 0,
            streams: Vec::new(),
            facts: Vec::new(),
            warnings: Vec::new(),
            left_out: LeftOutCounts::default(),
            used_patterns: Vec::new(),
        };
        for (number, path) in paths.iter().enumerate() {
            self.writer.begin_source()?;
            let shown = if path.is_empty() { name.clone() } else { format!("{name}/{path}") };
            self.monitor.current(shown.as_bytes());
            let (node, stream, end) = self.stream(source, number, path, &shown)?;
            if end == StreamEnd::WithoutStatus {
                part.status = SourceStatus::WithoutStatus;
            }
            let action = self.compared(&stream);
            self.counts.file(action, stream.bytes);
            self.monitor.advance(1, 0);
            self.monitor.entry(action, shown.as_bytes(), stream.bytes);
            part.bytes += stream.bytes;
            part.streams.push(stream);
            files.push(node);
        }
        part.facts = source.facts();
        part.warnings = warnings::gathered(source.warnings());
        for remark in source.remarks() {
            self.monitor.note(&format!("{name}: {remark}"));
        }
        part.node = Some(match files.pop_if(|file| file.name.is_empty()) {
            Some(alone) => Node { name: name.into_bytes(), ..alone },
            None => self.folder_of(name, files)?,
        });
        Ok(part)
    }

    fn stream(
        &mut self,
        source: &mut dyn StreamSource,
        number: usize,
        path: &str,
        shown: &str,
    ) -> Result<(Node, format::Stream, StreamEnd), SnapshotError> {
        let repository = Arc::clone(self.writer.repository());
        let began = repository.clock().now();
        let mut running = source.open(number)?;
        let mut mac = repository.stream_mac();
        let pieces = self.begin_pieces(Of::Stream, source.name(), path)?;
        let mut plan = StreamPlan {
            chunker: &self.workshop.chunker,
            sizes: repository.sizes_of_streams(),
            mac: Some(&mut mac),
            pieces: Some(pieces),
        };
        self.writer.load_pieces()?;
        let mut sink = Sink::default();
        match sink.append(self.writer, &mut running, &mut plan, self.monitor, self.stop) {
            Ok(()) => {}
            Err(SnapshotError::Read(error)) => {
                running.abort();
                return Err(SourceError::from_read(shown, error).into());
            }
            Err(error) => {
                running.abort();
                return Err(error);
            }
        }
        // Only now is it known whether what came is worth anything.
        let end = running.finish()?;
        self.writer.end_pieces()?;
        let stored = sink.finish(self.writer)?;
        let mut node = self.node(path.as_bytes().to_vec(), NodeKind::File, 0o600, began);
        node.size = stored.bytes;
        node.content = stored.content;
        let stream = format::Stream { path: shown.as_bytes().to_vec(), bytes: stored.bytes, mac: *mac.finalize().as_bytes() };
        Ok((node, stream, end))
    }

    /// Is it what the last run of this host took under this name? As with files, without a cache everything is new.
    fn compared(&mut self, stream: &format::Stream) -> &'static str {
        let key = [b"stream/", self.options.host.as_bytes(), b"/", &stream.path[..]].concat();
        let value = [&stream.bytes.to_le_bytes()[..], &stream.mac].concat();
        let known = self.writer.recall(&key);
        if !self.options.dry_run {
            // Lost, the next run calls it new.
            self.writer.remember(&key, &value);
        }
        match known {
            None => "new",
            Some(known) if known == value => "unmodified",
            Some(_) => "changed",
        }
    }

    fn folder_of(&mut self, name: String, mut files: Vec<Node>) -> Result<Node, SnapshotError> {
        files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let mut encoded = Vec::with_capacity(files.len());
        for node in &files {
            encoded.push((node.name.clone(), tree::encode_node(node)?));
        }
        let stored = folder::store(self.writer, encoded.iter().map(|(name, node)| (name.as_slice(), node.as_slice())))?;
        self.counts.folder(stored.any_new, true);
        let mut node = self.node(name.into_bytes(), NodeKind::Folder, 0o700, self.start);
        node.content = stored.content;
        Ok(node)
    }

    /// A node for what has no place on a disk: owned by whoever takes the snapshot, readable by nobody else.
    fn node(&self, name: Vec<u8>, kind: NodeKind, mode: u32, time: Timestamp) -> Node {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Node {
            name,
            kind,
            mode,
            uid,
            gid,
            user: self.workshop.owners.user_name(uid),
            group: self.workshop.owners.group_name(gid),
            mtime: time,
            ctime: time,
            size: 0,
            content: tree::Content::default(),
            link_target: Vec::new(),
            device: 0,
            xattrs: Vec::new(),
            hard_link: None,
            extra: Vec::new(),
        }
    }

    /// Device and inode of what must never be taken: a repository inside a source would back up itself.
    fn never(&self) -> Vec<(u64, u64)> {
        use std::os::unix::fs::MetadataExt;
        let stats = self.options.never.iter().filter_map(|path| std::fs::metadata(path).ok());
        stats.map(|stat| (stat.dev(), stat.ino())).collect()
    }

    /// What the last run of this host saw: good enough for a progress bar.
    fn expected(&mut self) -> (u64, u64) {
        let key = self.totals_key();
        let value = self.writer.recall(&key).unwrap_or_default();
        let number = |at: usize| value.get(at..at + 8).and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
        (number(0).unwrap_or(0), number(8).unwrap_or(0))
    }

    fn totals_key(&self) -> Vec<u8> {
        [b"totals/", self.options.host.as_bytes()].concat()
    }

    /// Leaves for the next run what it needs: folder records and totals.
    fn remember(&mut self) -> Result<(), SnapshotError> {
        self.pending.save_all(self.writer, &self.options.host)?;
        if !self.options.dry_run {
            let value = [self.counts.files().to_le_bytes(), self.counts.bytes.to_le_bytes()].concat();
            let key = self.totals_key();
            // Lost, only the progress bar is poorer.
            self.writer.remember(&key, &value);
        }
        Ok(())
    }
}
