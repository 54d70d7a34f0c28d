//! Which servers there are, and where their programs lie. The one table of both: `cargo xtask testbed build` builds
//! its rows, the rest of this crate looks them up. A new server is a new row, and a module folder if it needs its own.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{Result, TestbedError};

/// A Go module in the folder `testbed/` that pins versions. They are apart because they pin each other's dependencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Module {
    /// Its folder in `testbed/`.
    pub folder: &'static str,
    /// What the linker is told: smaller files and, where the program can't know it by itself, its version.
    pub ldflags: &'static str,
}

/// A server, or a tool for one, that is built from source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// File name of the program.
    pub name: &'static str,
    /// The module that pins its version.
    pub module: Module,
    /// Its Go package.
    pub package: &'static str,
    /// How somebody hands us a program of his own.
    pub given_by: GivenBy,
    /// How long a first build takes on two cores, in seconds; only for telling people what to expect.
    pub cold_build_seconds: u64,
}

/// The environment variable that names a program at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenBy {
    /// `CONSUL_BIN` is the file.
    ConsulBin,
    /// The file lies in the folder `KUBEBUILDER_ASSETS`.
    KubebuilderAssets,
    /// The same, but kubebuilder's own archives lack it: when it is not there, the built one is used.
    KubebuilderAssetsIfThere,
}

const ETCD_MODULE: Module = Module { folder: "etcd", ldflags: "-s -w" };
const CONSUL_MODULE: Module = Module { folder: "consul", ldflags: "-s -w" };
// The version lies here as well as in go.mod; a test below holds them together.
const KUBERNETES_LDFLAGS: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2 \
              -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37";
const KUBERNETES_MODULE: Module = Module { folder: "kubernetes", ldflags: KUBERNETES_LDFLAGS };
// Of the same version, but apart: few need it, and the others need not be built anew for its sake.
const KUBE_PROXY_MODULE: Module = Module { folder: "kube-proxy", ldflags: KUBERNETES_LDFLAGS };

/// The store below kube-apiserver.
pub const ETCD: Program = Program {
    name: "etcd",
    module: ETCD_MODULE,
    package: "go.etcd.io/etcd/server/v3",
    given_by: GivenBy::KubebuilderAssets,
    cold_build_seconds: 35,
};
/// Consul, server and client agent in one.
pub const CONSUL: Program = Program {
    name: "consul",
    module: CONSUL_MODULE,
    package: "github.com/hashicorp/consul",
    given_by: GivenBy::ConsulBin,
    cold_build_seconds: 190,
};
/// The Kubernetes API.
pub const KUBE_APISERVER: Program = Program {
    name: "kube-apiserver",
    module: KUBERNETES_MODULE,
    package: "k8s.io/kubernetes/cmd/kube-apiserver",
    given_by: GivenBy::KubebuilderAssets,
    cold_build_seconds: 240,
};
/// What deletes the objects of a namespace, collects garbage and mirrors Endpoints.
pub const KUBE_CONTROLLER_MANAGER: Program = Program {
    name: "kube-controller-manager",
    module: KUBERNETES_MODULE,
    package: "k8s.io/kubernetes/cmd/kube-controller-manager",
    given_by: GivenBy::KubebuilderAssetsIfThere,
    cold_build_seconds: 60,
};
/// The command line that people use.
pub const KUBECTL: Program = Program {
    name: "kubectl",
    module: KUBERNETES_MODULE,
    package: "k8s.io/kubernetes/cmd/kubectl",
    given_by: GivenBy::KubebuilderAssets,
    cold_build_seconds: 30,
};
/// What makes connections to a Service's address arrive at its endpoints.
pub const KUBE_PROXY: Program = Program {
    name: "kube-proxy",
    module: KUBE_PROXY_MODULE,
    package: "k8s.io/kubernetes/cmd/kube-proxy",
    given_by: GivenBy::KubebuilderAssetsIfThere,
    cold_build_seconds: 30,
};

/// All programs, in the order in which they are built.
pub const PROGRAMS: &[Program] = &[ETCD, CONSUL, KUBE_APISERVER, KUBE_CONTROLLER_MANAGER, KUBECTL, KUBE_PROXY];

/// Those of them that a playground runs, or that people use there.
pub const PLAYGROUND: &[Program] = &[ETCD, CONSUL, KUBE_APISERVER, KUBE_CONTROLLER_MANAGER, KUBECTL];

/// What `go build` gets besides the linker's flags: the same bytes on every machine, and nothing from git.
pub const BUILD_FLAGS: &[&str] = &["-trimpath", "-buildvcs=false"];
/// The environment of `go build`: no C compiler needed, and no setting of the user's that changes the result.
pub const BUILD_ENVIRONMENT: &[(&str, &str)] = &[("CGO_ENABLED", "0"), ("GOWORK", "off"), ("GOFLAGS", "-mod=readonly")];

impl Module {
    /// The module's folder in this checkout.
    #[must_use]
    pub fn source(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testbed").join(self.folder)
    }

    /// The cache folder that holds this module's programs. Its name changes with everything that decides what is
    /// built: pinned versions, their checksums, the list of packages and the flags.
    ///
    /// # Errors
    /// [`TestbedError::NoCacheFolder`], or [`TestbedError::Io`] when a file of the module can't be read.
    pub fn built(&self) -> Result<PathBuf> {
        let mut hash = Sha256::new();
        for file in ["go.mod", "go.sum", "tools.go"] {
            let path = self.source().join(file);
            let text = fs::read(&path).map_err(TestbedError::io(format!("reading {}", path.display())))?;
            hash_part(&mut hash, &text);
        }
        BUILD_FLAGS.iter().for_each(|flag| hash_part(&mut hash, flag.as_bytes()));
        BUILD_ENVIRONMENT.iter().for_each(|(name, value)| hash_part(&mut hash, format!("{name}={value}").as_bytes()));
        hash_part(&mut hash, self.ldflags.as_bytes());
        let key: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(cache()?.join("testbed").join(format!("{}-{key}", self.folder)))
    }
}

/// Adds one part with its length, so that text can't move from one part to the next unseen.
fn hash_part(hash: &mut Sha256, part: &[u8]) {
    hash.update((part.len() as u64).to_le_bytes());
    hash.update(part);
}

impl Program {
    /// Where `cargo xtask testbed build` puts this program.
    ///
    /// # Errors
    /// As [`Module::built`].
    pub fn built(&self) -> Result<PathBuf> {
        Ok(self.module.built()?.join(self.name))
    }

    /// The program that the environment gives us, and the variable that does it; `None` when it gives none.
    ///
    /// # Errors
    /// [`TestbedError::NotGiven`] when the variable is set and the file is not there.
    pub fn given(&self) -> Result<Option<(&'static str, PathBuf)>> {
        let (variable, optional) = match self.given_by {
            GivenBy::ConsulBin => ("CONSUL_BIN", false),
            GivenBy::KubebuilderAssets => ("KUBEBUILDER_ASSETS", false),
            GivenBy::KubebuilderAssetsIfThere => ("KUBEBUILDER_ASSETS", true),
        };
        let Some(value) = variable_set(variable) else {
            return Ok(None);
        };
        let path = match self.given_by {
            GivenBy::ConsulBin => PathBuf::from(value),
            GivenBy::KubebuilderAssets | GivenBy::KubebuilderAssetsIfThere => Path::new(&value).join(self.name),
        };
        match (path.is_file(), optional) {
            (true, _) => Ok(Some((variable, path))),
            (false, true) => Ok(None),
            (false, false) => Err(TestbedError::NotGiven { variable, path }),
        }
    }

    /// The program to start: the given one, else the built one.
    ///
    /// # Errors
    /// As [`Program::given`] and [`Program::built`], and [`TestbedError::NotBuilt`] when it is nowhere.
    pub fn locate(&self) -> Result<PathBuf> {
        if let Some((_, path)) = self.given()? {
            return Ok(path);
        }
        let path = self.built()?;
        if path.is_file() { Ok(path) } else { Err(TestbedError::NotBuilt { program: self.name, path }) }
    }
}

/// The folder for everything that is built once per machine and user: `$CONSUL8S_CACHE`, else
/// `$XDG_CACHE_HOME/consul8s`, else `~/.cache/consul8s`. It may be deleted at any time; then it is filled anew.
///
/// # Errors
/// [`TestbedError::NoCacheFolder`] when none of the variables is set.
pub fn cache() -> Result<PathBuf> {
    if let Some(folder) = variable_set("CONSUL8S_CACHE") {
        return Ok(PathBuf::from(folder));
    }
    if let Some(folder) = variable_set("XDG_CACHE_HOME") {
        return Ok(Path::new(&folder).join("consul8s"));
    }
    let home = variable_set("HOME").ok_or(TestbedError::NoCacheFolder)?;
    Ok(Path::new(&home).join(".cache/consul8s"))
}

/// A variable's value; an empty one counts as unset.
fn variable_set(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_is_pinned_by_its_module() {
        for program in PROGRAMS {
            let tools = fs::read_to_string(program.module.source().join("tools.go")).unwrap();
            assert!(tools.contains(&format!("\"{}\"", program.package)), "{} is not in tools.go", program.package);
        }
    }

    #[test]
    fn the_stamped_kubernetes_version_is_the_pinned_one() {
        for module in [KUBERNETES_MODULE, KUBE_PROXY_MODULE] {
            let go_mod = fs::read_to_string(module.source().join("go.mod")).unwrap();
            let pinned = go_mod
                .lines()
                .filter(|line| !line.contains("=>"))
                .find_map(|line| line.split("k8s.io/kubernetes ").nth(1))
                .unwrap()
                .trim();
            let parts: Vec<&str> = pinned.trim_start_matches('v').split('.').collect();
            for stamp in
                [format!("gitVersion={pinned} "), format!("gitMajor={} ", parts[0]), format!("gitMinor={}", parts[1])]
            {
                assert!(module.ldflags.contains(&stamp), "{stamp} is not in {:?}", module.ldflags);
            }
        }
    }

    #[test]
    fn each_module_has_a_folder_of_its_own_in_the_cache() {
        let (etcd, consul) = (ETCD.module.built().unwrap(), CONSUL.module.built().unwrap());
        assert_ne!(etcd, consul);
        let name = etcd.file_name().unwrap().to_str().unwrap();
        let key = name.strip_prefix("etcd-").unwrap();
        assert_eq!(key.len(), 16);
        assert!(key.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
