//! Ctrl-C as something to react to instead of the end of the program.

use std::sync::mpsc::Sender;

/// Sends `news` when the person presses Ctrl-C; only once.
pub(crate) fn send_on_interrupt<T: Send + 'static>(sink: Sender<T>, news: T) {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        if let Ok(runtime) = runtime
            && runtime.block_on(tokio::signal::ctrl_c()).is_ok()
        {
            _ = sink.send(news);
        }
    });
}
