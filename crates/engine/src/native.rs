//! A definition as the command line that would start it.

use crate::engine::Engine;
use crate::error::{EngineError, ErrorKind, Result};
use crate::run::{choose_accelerator, emulator, launch_context, quoted};
use crate::{displays, facts, tpm};
use model::domain::DomainType;
use qemu::caps::Accelerator;
use qemu::command_line::{Launch, LaunchContext, command_line};

/// The only format there is.
const FORMAT: &str = "qemu-argv";

/// The id of a machine that is not going to run.
const NO_ID: i32 = -1;

impl Engine {
    /// The environment and the command line that a machine of this definition would be started
    /// with, for a shell. Descriptors that QEMU inherits are named by their numbers.
    pub async fn native_command(&self, format: &str, xml: &str) -> Result<String> {
        if format != FORMAT {
            let message = format!("unsupported config type {format}");
            return Err(EngineError::new(ErrorKind::InvalidArgument, message));
        }
        let mut domain = self.complete(xml).await?.domain;
        let caps = self.binaries().caps(&emulator(self, &domain)?).await?;
        let directory = self.places().machine_run(NO_ID, &domain.name);
        let wants_kvm = domain.kind == DomainType::Kvm;
        let accelerator = choose_accelerator(self, &mut domain, &caps, &mut Vec::new());
        domain.assign_aliases();
        crate::snapshots::spell::chains(self, &mut domain)?;
        domain.number_images();
        facts::place_sockets(&mut domain, &directory);
        displays::show_ports(self.ports(), &mut domain)?;
        let context = LaunchContext {
            accelerator,
            without_kvm: wants_kvm && accelerator == Accelerator::Tcg,
            paused: true,
            tpm_socket: tpm::socket(&domain, &directory),
            ..launch_context(&domain, &directory)
        };
        let launch = command_line(&domain, &caps, &context)
            .map_err(|unsupported| EngineError::new(ErrorKind::ConfigUnsupported, unsupported.0))?;
        Ok(for_a_shell(&launch))
    }
}

/// One setting or option with its value to a line.
fn for_a_shell(launch: &Launch) -> String {
    let mut text = String::new();
    for (name, value) in &launch.environment {
        text.push_str(&format!("{name}={} \\\n", quoted(value)));
    }
    text.push_str(&quoted(&launch.program.to_string_lossy()));
    for argument in &launch.arguments {
        let option = argument.starts_with('-');
        text.push_str(if option { " \\\n" } else { " " });
        text.push_str(&quoted(argument));
    }
    text.push('\n');
    text
}
