//! What the machine stores, made durable where blocking harms nobody: on a thread of the pool of
//! `blocking`, which wakes the task itself.

use chatroom_driver::{Error, Files, Observer, Shell};
use chatroom_machine::Machine;
use chatroom_storage::Batch;
use smol::future;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The end of a commit.
type Done = (Files, Batch, Result<(), Error>);

/// At most one commit at a time; what is stored meanwhile waits for the next.
pub(crate) struct Commits {
    files: Option<Files>,
    running: Option<smol::Task<Done>>,
    done: Option<Done>,
}

impl Commits {
    pub(crate) fn new(files: Option<Files>) -> Self {
        Self {
            files,
            running: None,
            done: None,
        }
    }

    /// Whether a commit is under way, or its end was not told yet.
    pub(crate) fn is_busy(&self) -> bool {
        self.running.is_some() || self.done.is_some()
    }

    /// Begins a commit if there is something to store and none is under way.
    pub(crate) fn begin<M: Machine, O: Observer<M>>(&mut self, shell: &mut Shell<M, O>) {
        if self.files.is_some()
            && let Some(batch) = shell.take_batch()
            && let Some(mut files) = self.files.take()
        {
            self.running = Some(smol::unblock(move || {
                let result = files.commit(&batch);
                (files, batch, result)
            }));
        }
    }

    /// Whether a commit has ended; if none has, the task is woken when it does.
    pub(crate) fn has_ended(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(task) = &mut self.running
            && let Poll::Ready(done) = Pin::new(task).poll(cx)
        {
            self.running = None;
            self.done = Some(done);
        }
        self.done.is_some()
    }

    /// Tells the machine of a commit that has ended, if one has.
    pub(crate) async fn tell<M: Machine, O: Observer<M>>(
        &mut self,
        shell: &mut Shell<M, O>,
    ) -> Result<(), Error> {
        if self.running.is_some() {
            future::poll_fn(|cx| {
                self.has_ended(cx);
                Poll::Ready(())
            })
            .await;
        }
        if let Some((files, batch, result)) = self.done.take() {
            result?;
            self.files = Some(files);
            shell.stored(batch);
        }
        Ok(())
    }

    /// Waits for the commit that is under way at the end of a run, whatever came of it: the next
    /// server to use the files finds nobody at work there.
    pub(crate) async fn end(mut self) {
        if let Some(task) = self.running.take() {
            drop(task.await);
        }
    }
}
