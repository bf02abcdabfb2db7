# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Package data for ament_python, pip and colcon alike."""

from glob import glob
import os
from pathlib import Path
import re

from setuptools import find_packages, setup

PACKAGE = 'proxy_snn_control'
SHARE = f'share/{PACKAGE}'
URL = 'https://github.com/proxy-snn-control/proxy_snn_control'
# The last two are what Gymnasium's MuJoCo tasks import and gymnasium itself does not require.
SIM = ['gymnasium', 'mujoco', 'imageio', 'packaging']
TRAIN = [
    *SIM,
    'torch',
    'safetensors',
    'imageio-ffmpeg',
    'tqdm',
    'tensorboard',
    'matplotlib',
]

# Where a system ROS 2 is sourced its rclpy is used, and the extra `ros` adds nothing.
ROS = (
    []
    if 'ROS_DISTRO' in os.environ
    else [
        'ros-kilted-rclpy[fastrtps]',
        'ros-kilted-diagnostic-msgs',
        'ros-kilted-geometry-msgs',
        'ros-kilted-lifecycle-msgs',
        'ros-kilted-nav-msgs',
        'ros-kilted-rosgraph-msgs',
        'ros-kilted-sensor-msgs',
        'ros-kilted-std-msgs',
        'ros-kilted-std-srvs',
        'ros-kilted-trajectory-msgs',
    ]
)

# What ament_flake8 and ament_pep257 name in package.xml; of a sourced ROS 2 likewise its own.
LINT = (
    []
    if 'ROS_DISTRO' in os.environ
    else [
        'ros-ament-flake8',
        'flake8-blind-except',
        'flake8-builtins',
        'flake8-class-newline',
        'flake8-comprehensions',
        'flake8-deprecated',
        'flake8-docstrings',
        'flake8-import-order',
        'flake8-quotes',
        'ros-ament-pep257',
    ]
)

# Package indexes have no files beside the page: links and pictures lead to the repository.
README = re.sub(
    r'(!?)(\[[^\]]*\])\((?!\w+:|#)',
    lambda link: f'{link[1]}{link[2]}({URL}/{"raw" if link[1] else "blob"}/main/',
    Path(__file__).with_name('README.md').read_text(encoding='utf-8'),
)

setup(
    name=PACKAGE,
    version='0.2.0',
    description='Train spiking policies with proxy targets and run them on robots',
    long_description=README,
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    url=URL,
    project_urls={
        'Source': URL,
        'Bug tracker': f'{URL}/issues',
        'Changelog': f'{URL}/blob/main/CHANGELOG.rst',
    },
    keywords=[
        'ROS',
        'spiking neural network',
        'reinforcement learning',
        'neuromorphic',
        'robot control',
    ],
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'License :: OSI Approved :: Apache Software License',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    maintainer='proxy_snn_control developers',
    maintainer_email='proxy_snn_control@users.noreply.github.com',
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
    python_requires='>=3.10',
    install_requires=['numpy', 'numba', 'pyyaml'],
    extras_require={
        'ros': ROS,
        'sim': SIM,
        'train': TRAIN,
        # For Python 3.10 alone; the exact version, for network.py builds on its runtime.
        'lava': ['lava-nc==0.10.0', 'numpy<2'],
        'export': ['nir', 'onnx'],
        'cluster': ['ray'],
        'view': ['rerun-sdk', *SIM],
        'bags': ['rosbags'],
        'docs': ['sphinx', 'myst-parser', 'furo'],
        # Besides, the browser's test needs Debian's chromium.
        'browser': ['playwright'],
        'wandb': ['wandb'],
        'mlflow': ['mlflow'],
        'optuna': ['optuna'],
        'benchmarks': ['stable-baselines3', 'onnx', 'onnxruntime', 'spikingjelly', 'snntorch'],
        'test': [
            'pytest',
            'pytest-timeout',
            'pytest-xdist',
            'hypothesis',
            'ray',
            'rerun-sdk',
            'rosbags',
            'sphinx',
            'myst-parser',
            'furo',
            'nir',
            'onnx',
            'onnxruntime',
            'snntorch',
            'norse',
            'optuna',
            'ruff',
            'mypy',
            'types-PyYAML',
            *LINT,
        ],
    },
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (SHARE, ['package.xml']),
        (f'{SHARE}/config', glob('config/*.yaml')),
        (f'{SHARE}/config/robots', glob('config/robots/*.yaml')),
        (f'{SHARE}/policies', glob('policies/*')),
        (f'{SHARE}/config/layouts', glob('config/layouts/*')),
        (f'{SHARE}/launch', glob('launch/*.launch.py')),
        (f'{SHARE}/security', glob('security/*')),
        # `ros2 run` and launch's Node() look for executables here; pip would put them in bin/.
        (f'lib/{PACKAGE}', sorted(glob('resource/bin/*'))),
    ],
    entry_points={'console_scripts': [f'proxy-snn = {PACKAGE}.cli:main']},
    zip_safe=True,
)
